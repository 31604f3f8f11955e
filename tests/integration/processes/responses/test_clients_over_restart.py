"""OpenAI's own clients over a restart of the whole gateway: what they continue and what they left goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import openai
import pytest

from tests.e2e.test_node import node
from tests.fleet import PATIENCE_S, Fleet, Process, ready
from tests.upstreams.numbered import words

if TYPE_CHECKING:
    import httpx

    from tests.conftest import Eventually
    from tests.upstreams.numbered import NumberedUpstream

_SCRIPT = Path(__file__).parents[3] / "e2e" / "node" / "background.mjs"


def kill_workers(fleet: Fleet) -> None:
    """Let what comes wait."""
    for process in fleet.processes:
        if process.name.startswith("local"):
            process.kill()


async def restart(fleet: Fleet, api: Process, eventually: Eventually) -> None:
    """Kill every process, and start others where those were."""
    for process in fleet.processes:
        process.kill()
    await asyncio.gather(*(process.process.wait() for process in fleet.processes))
    again = await fleet.api(CLAW_PORT=api.url.rpartition(":")[2])
    await fleet.worker()
    await fleet.recorder()
    await ready(again, eventually)


def secret_of(client: httpx.AsyncClient) -> str:
    """Return the key of a client."""
    return str(client.headers["authorization"]).removeprefix("Bearer ")


async def test_openais_client_for_python(
    client: httpx.AsyncClient, fleet: Fleet, api: Process, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """A chain goes on, what waited in the background is answered; one that runs is cancelled and deleted."""
    async with openai.AsyncOpenAI(
        base_url=f"{api.url}/v1", api_key=secret_of(client), max_retries=0, timeout=PATIENCE_S
    ) as sdk:
        first = await sdk.responses.create(model="numbered", input="one")
        kill_workers(fleet)
        left = await sdk.responses.create(model="numbered", input="one", background=True)
        assert left.status == "queued"
        await restart(fleet, api, eventually)
        second = await sdk.responses.create(model="numbered", input="two", previous_response_id=first.id)
        assert (second.output_text, second.previous_response_id) == (words(20), first.id)

        async def is_done() -> bool:
            return (await sdk.responses.retrieve(left.id)).status == "completed"

        await eventually(is_done)
        async with await sdk.responses.retrieve(left.id, stream=True, starting_after=2) as stream:
            told = [event async for event in stream]
        assert told[0].sequence_number == 3
        assert told[-1].type == "response.completed"
        assert told[-1].response.output_text == first.output_text
        assert [item.type async for item in sdk.responses.input_items.list(second.id)] == ["message"] * 3
        upstream.hold_at = 5
        running = await sdk.responses.create(model="numbered", input="three", background=True)
        await eventually(lambda: upstream.held)
        await sdk.responses.cancel(running.id)

        async def is_cancelled() -> bool:
            return (await sdk.responses.retrieve(running.id)).status == "cancelled"

        await eventually(is_cancelled)
        await sdk.responses.delete(running.id)
        with pytest.raises(openai.NotFoundError):
            await sdk.responses.retrieve(running.id)


@pytest.mark.npm
async def test_openais_client_for_node(
    client: httpx.AsyncClient, fleet: Fleet, api: Process, eventually: Eventually
) -> None:
    """The same, and its input items."""
    process = await node(_SCRIPT.read_text(), f"{api.url}/v1", secret_of(client))
    assert process.stdin is not None
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        assert await process.stdout.readline() == b"completed\n"
    kill_workers(fleet)
    process.stdin.write(b"\n")
    async with asyncio.timeout(PATIENCE_S):
        assert await process.stdout.readline() == b"queued\n"
    await restart(fleet, api, eventually)
    async with asyncio.timeout(PATIENCE_S):
        shown, complaints = await process.communicate(b"\n")
    assert (process.returncode, complaints) == (0, b"")
    assert shown.decode().splitlines() == [
        "completed true", "completed true", "3 response.completed true", "message message message",
    ]  # fmt: skip
