"""Requests are cancelled by request whatever their clients do: the model stops, and the log says who wanted it."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from shared.models.catalogue import default_catalogue
from shared.models.tokenizers import count_tokens
from shared.types import Usage
from tests.fleet import INTERNAL_SECRET, PATIENCE_S, Fleet, Process, chat, ready
from tests.streams import Reader, usage_rows
from tests.upstreams.numbered import NumberedUpstream, words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.conftest import Eventually

UNREAD = 2_000
PADDING = "x" * 8192
"""Tokens that fill every buffer between an api process and a client that does not read."""

pytestmark = pytest.mark.switched


@pytest.fixture
def fleet_environment() -> dict[str, str]:
    """Return what a client does not read waits for it here, and is no reason to end its connection."""
    return {"CLAW_CLIENT_BUFFER_MIB": "256", "CLAW_DRAIN_S": "0.5"}


@pytest.fixture
async def upstream() -> AsyncIterator[NumberedUpstream]:
    """Yield a counting upstream whose tokens are large."""
    async with NumberedUpstream(tokens=40) as server:
        server.padding = PADDING
        yield server


@pytest.fixture
async def operator(api: Process) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the management API."""
    headers = {"x-internal-token": INTERNAL_SECRET}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=PATIENCE_S) as opened:
        yield opened


@contextmanager
def unread_stream(api: Process, key: str) -> Iterator[None]:
    """Yield a stream that its client asks for and never reads."""
    body = json.dumps(chat(stream=True)).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", int(api.url.rpartition(":")[2])))
        client.sendall(head.encode() + body)
        yield


async def answering(operator: httpx.AsyncClient, tokens: int, eventually: Eventually) -> str:
    """Return the id of the only request, once so many tokens of its answer have come."""

    async def has_come() -> str | None:
        for listed in (await operator.get("/claw/queue/requests")).json()["requests"]:
            shown = (await operator.get(f"/claw/queue/requests/{listed['request_id']}")).json()
            if shown.get("tokens", 0) >= tokens:
                return str(shown["request_id"])
        return None

    found: str = await eventually(has_come)
    return found


@pytest.mark.parametrize("is_held", [True, False], ids=["held", "flowing"])
async def test_a_stream_that_its_client_does_not_read_is_cancelled(
    operator: httpx.AsyncClient, api: Process, fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually, *,
    is_held: bool,
) -> None:  # fmt: skip
    """The upstream call ends at once, also where frames are on their way; the connection is still open then."""
    upstream.tokens, upstream.hold_at = 10 * UNREAD, UNREAD if is_held else None
    with unread_stream(api, await fleet.key()):
        name = await answering(operator, UNREAD, eventually)
        ended = await operator.delete(f"/claw/queue/requests/{name}")
        await eventually(lambda: upstream.aborted == 1)
        [row] = await usage_rows(fleet, eventually, 1)
    assert ended.json()["status"] == "cancelled"
    assert (row["status"], row["error_code"]) == (499, "request_cancelled")
    assert row["completion_tokens"] >= UNREAD
    assert [event[1:] for event in json.loads(row["story"])] == [["cancelled", "the operator"]]


async def test_a_stream_that_its_client_does_not_read_ends_with_its_api_process(
    api: Process, operator: httpx.AsyncClient, fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """When the time for what runs is over its model stops, and the log says why."""
    upstream.tokens, upstream.hold_at = 10 * UNREAD, UNREAD
    with unread_stream(api, await fleet.key()):
        await answering(operator, UNREAD, eventually)
        api.terminate()
        await eventually(lambda: upstream.aborted == 1)
        [row] = await usage_rows(fleet, eventually, 1)
    assert (row["status"], row["error_code"]) == (503, "draining")


async def test_a_cancelled_paid_request_costs_what_its_worker_has_counted(
    fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Exactly what was sent and received, by the model's own tokenizer: that is what the upstream bills."""
    upstream.models, upstream.hold_at, upstream.padding = ["gpt-4.1"], 7, ""
    api = await fleet.api(PLUGIN_AI_MONTHLY_BUDGET_USD="1")
    await fleet.worker("paid", OPENAI_API_KEY="sk-test", OPENAI_BASE_URL=upstream.url)
    await fleet.recorder()
    await ready(api, eventually)
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=PATIENCE_S) as client:
        messages = [{"role": "user", "content": "supercalifragilisticexpialidocious " * 20}]
        reader = Reader(client, model="gpt-4.1", max_tokens=100, messages=messages)
        await eventually(lambda: reader.content == words(7))
        [found] = (await client.get("/v1/requests")).json()["data"]
        ended = (await client.delete(f"/v1/requests/{found['id']}")).json()
        await reader.task
    [row] = await usage_rows(fleet, eventually, 1)
    assert (ended["status"], reader.error["code"], row["error_code"]) == ("cancelled", *["request_cancelled"] * 2)
    sent = count_tokens([messages[0]["content"]], "gpt-4.1") + 4
    assert (row["prompt_tokens"], row["completion_tokens"]) == (sent, count_tokens([words(7)], "gpt-4.1"))
    billed = default_catalogue().cost_usd("gpt-4.1", Usage(row["prompt_tokens"], row["completion_tokens"]))
    assert float(row["cost_usd"]) == pytest.approx(billed)


async def test_one_that_ended_by_itself_is_not_said_to_be_cancelled(
    operator: httpx.AsyncClient, api: Process, fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Its client has not read the end of it yet, so it is open to its api process alone."""
    upstream.tokens = UNREAD
    with unread_stream(api, await fleet.key()):
        [row] = await usage_rows(fleet, eventually, 1)
        ended = await operator.delete(f"/claw/queue/requests/{row['request_id'].hex}")
    assert (row["status"], ended.status_code) == (200, 404)


async def test_many_that_are_cancelled_at_once_all_say_so(
    client: httpx.AsyncClient, fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Twice each, while they wait or run: both answers are true, and each request has one row."""
    upstream.hold_at = 1
    readers = [Reader(client) for _ in range(12)]

    async def all_there() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await client.get("/v1/requests")).json()["data"]
        return found if len(found) == len(readers) else []

    listed = await eventually(all_there, every_s=1.5)
    paths = [f"/v1/requests/{each['id']}" for each in listed]
    answers = await asyncio.gather(*(client.delete(path) for path in 2 * paths))
    assert {answer.json().get("status", "gone") for answer in answers} <= {"cancelled", "gone"}
    assert sum(answer.status_code == 200 for answer in answers) >= len(readers)
    await asyncio.gather(*(reader.task for reader in readers))
    rows = await usage_rows(fleet, eventually, len(readers))
    assert {row["error_code"] for row in rows} == {"request_cancelled"}
