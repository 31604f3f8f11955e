"""Servers that look alike: two behind one host and port, two machines of one name. Each has a queue of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import pytest

from shared.redis import client as redis_client
from shared.redis.names import QUEUES
from tests.fleet import PATIENCE_S, chat
from tests.upstreams.numbered import MODEL, words
from tests.upstreams.ollama import replies as ollama
from tests.upstreams.openai import replies as openai
from tests.upstreams.scripted import ScriptedUpstream, json_answer, ndjson, sse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.conftest import Eventually
    from tests.fleet import Fleet
    from tests.upstreams.numbered import NumberedUpstream

REQUESTS = 12
FIRST, SECOND = "model-of-the-first", "model-of-the-second"


async def queues(url: str) -> set[str]:
    """Return the names of the queues of local backends."""
    redis = redis_client.connect(url)
    found: set[bytes] = await redis.smembers(QUEUES)  # type: ignore[misc]  # redis-py: or awaitable
    await redis_client.close(redis)
    return {name.decode() for name in found if b":local:" in name}


@pytest.fixture
async def client(fleet: Fleet) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of an api whose workers the test starts."""
    api = await fleet.api()
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=PATIENCE_S) as opened:
        yield opened


async def until_there(client: httpx.AsyncClient, eventually: Eventually, *models: str) -> None:
    """Wait until these models are on offer."""

    async def are_there() -> bool:
        try:
            reply = await client.get("/v1/models")
        except httpx.TransportError:
            return False
        return reply.is_success and {*models} <= {model["id"] for model in reply.json()["data"]}

    await eventually(are_there)


async def said(client: httpx.AsyncClient, model: str) -> list[str]:
    """Return the answers of a model to as many requests."""
    replies = [await client.post("/v1/chat/completions", json=chat(model=model)) for _ in range(REQUESTS)]
    assert {reply.status_code for reply in replies} == {200}, [reply.text[:300] for reply in replies]
    return [reply.json()["choices"][0]["message"]["content"] for reply in replies]


async def test_two_apis_at_one_host_and_port_get_their_own_requests(
    client: httpx.AsyncClient, fleet: Fleet, fleet_redis_url: str, eventually: Eventually
) -> None:
    """An OpenAI-compatible server and an Ollama behind one address: half of them went to the wrong one."""
    async with ScriptedUpstream() as server:
        server.routes |= {
            "/v1/models": json_answer(openai.model_list([FIRST], 8192)),
            "/v1/chat/completions": sse(openai.text("of OpenAI's API")),
            "/api/tags": json_answer(ollama.tags([SECOND])),
            "/api/chat": ndjson(ollama.text("of Ollama's API")),
        }
        await fleet.worker(CLAW_LOCAL_OPENAI_URL=f"{server.url}/v1")
        await fleet.worker(CLAW_LOCAL_OPENAI_URL="", PLUGIN_OLLAMA_URL=server.url)
        await until_there(client, eventually, FIRST, SECOND)
        assert await said(client, FIRST) == ["of OpenAI's API"] * REQUESTS
        assert await said(client, SECOND) == ["of Ollama's API"] * REQUESTS
        assert len(await queues(fleet_redis_url)) == 2


async def test_two_machines_of_one_name_have_queues_of_their_own(  # noqa: PLR0917 -- fixtures
    client: httpx.AsyncClient,
    fleet: Fleet,
    upstream: NumberedUpstream,
    fleet_redis_url: str,
    tmp_path: Path,
    eventually: Eventually,
) -> None:
    """Machines that were cloned name their model servers alike; the loopback of each is another one."""
    for number in range(2):
        (machine := tmp_path / f"machine-{number}").write_text(f"{number}\n")
        changes = json.dumps({"machine_id": str(machine)})
        fleet.start("local", ["tests.attack.installation.elsewhere", changes, "workers", "local"], 0, {})

    async def both() -> bool:
        return len(await queues(fleet_redis_url)) == 2

    await eventually(both)
    await until_there(client, eventually, MODEL)
    reply = await client.post("/v1/chat/completions", json=chat())
    assert reply.json()["choices"][0]["message"]["content"] == words(upstream.tokens)
