"""An api process is stopped while its requests outlast the drain time: each ends once, clearly, and nothing is left."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from shared.redis import client as redis_client
from tests.fleet import BOTH_WAYS, Fleet, Process, chat, ready
from tests.streams import Reader, usage_rows
from tests.upstreams.numbered import NumberedUpstream, words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

    from cli.up.embedded.valkey import EmbeddedValkey
    from tests.conftest import Eventually

pytestmark = BOTH_WAYS

DRAINING = ("draining", "server_error")


@pytest.fixture
async def redis(valkey: EmbeddedValkey) -> AsyncIterator[Redis]:
    """Yield a client of the fleet's Valkey."""
    opened = redis_client.connect(valkey.url())
    try:
        yield opened
    finally:
        await redis_client.close(opened)


async def started(fleet: Fleet, eventually: Eventually, *, slots: int, **environment: str) -> Process:
    """Return an api process with a short drain time, a recorder, and a worker with so many slots.

    The heartbeat's bound is so long that nothing ends because somebody went silent.
    """
    bound = {"CLAW_HEARTBEAT_BOUND_S": "60"}
    process = await fleet.api(CLAW_DRAIN_S="0.3", **bound, **environment)
    await fleet.worker(CLAW_LOCAL_OPENAI_SLOTS=str(slots), **bound)
    await fleet.recorder()
    await ready(process, eventually)
    return process


async def clients(fleet: Fleet, api: Process) -> httpx.AsyncClient:
    """Return a client with a key of its own."""
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    return httpx.AsyncClient(base_url=api.url, headers=headers, timeout=60)


def whole(client: httpx.AsyncClient, *, stream: bool = False) -> asyncio.Task[httpx.Response]:
    """Return a request under way."""
    return asyncio.create_task(client.post("/v1/chat/completions", json=chat(stream=stream)))


async def waiting(redis: Redis) -> int:
    """Return how many jobs wait."""
    queues = [name async for name in redis.scan_iter("arq:queue:*", _type="zset")]
    return sum([await redis.zcard(name) for name in queues])


async def ended_in_order(process: Process) -> None:
    """Check that the process has ended by itself, and said nothing but lines of its log."""
    assert await process.process.wait() == 0
    lines = process.log.read_text().splitlines()
    assert [line for line in lines if line.split()[1:2] not in (["INFO"], ["WARNING"])] == []


async def nothing_is_left(redis: Redis) -> bool:
    """Return whether no job, mark, lease, open request or api process is in Redis any more."""
    names: list[bytes] = await redis.keys("*")
    left = (b"arq:job:", b"arq:in-progress:", b"claw:running:", b"claw:open:", b"claw:api:", b"claw:apis")
    return not [name for name in names if name.startswith(left)] and await waiting(redis) == 0


def refusal(reply: httpx.Response) -> tuple[Any, ...]:
    """Status, code, type and Retry-After of an error in OpenAI's format."""
    error = reply.json()["error"]
    return reply.status_code, error["code"], error["type"], reply.headers["retry-after"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_what_outlasts_the_drain_time_ends_as_draining(
    fleet: Fleet, upstream: NumberedUpstream, redis: Redis, eventually: Eventually, number: signal.Signals
) -> None:
    """503 before the head, an error event after it; running, waiting, streamed or not: each is logged once."""
    api = await started(fleet, eventually, slots=3)
    async with await clients(fleet, api) as client:
        upstream.hold_at = 7
        begun = Reader(client)
        await eventually(lambda: begun.content == words(7))
        body = whole(client)
        await eventually(lambda: upstream.held == 2)
        upstream.hold_at = 0
        silent = whole(client, stream=True)
        await eventually(lambda: upstream.held == 3)
        queued = [whole(client, stream=stream) for stream in (True, False)]

        async def both_wait() -> bool:
            return await waiting(redis) == 2

        await eventually(both_wait)
        api.process.send_signal(number)
        replies = await asyncio.gather(body, silent, *queued)
        await begun.task
    assert [refusal(reply) for reply in replies] == [(503, *DRAINING, "1")] * 4
    assert (begun.status, begun.content, begun.done) == (200, words(7), False)
    assert (begun.error["code"], begun.error["type"]) == DRAINING
    await ended_in_order(api)
    await eventually(lambda: upstream.aborted == 3)
    assert len(upstream.requests) == 3
    rows = await usage_rows(fleet, eventually, 5)
    assert {(row["status"], row["error_code"], row["attempts"]) for row in rows} == {(503, "draining", 1)}
    assert max(row["completion_tokens"] for row in rows) == 7
    await eventually(lambda: nothing_is_left(redis))


async def test_a_stream_whose_head_went_out_while_it_waited_ends_with_an_error_event(
    fleet: Fleet, upstream: NumberedUpstream, redis: Redis, eventually: Eventually
) -> None:
    """It had its 200 and comments, but never a worker."""
    api = await started(fleet, eventually, slots=1, CLAW_HEAD_WAIT_S="0.1")
    upstream.hold_at = 7
    async with await clients(fleet, api) as client:
        readers = [Reader(client)]
        await eventually(lambda: upstream.held == 1)
        readers += [Reader(client) for _ in range(3)]
        await eventually(lambda: all(reader.status == 200 for reader in readers))
        api.terminate()
        await asyncio.gather(*(reader.task for reader in readers))
    assert [reader.error["code"] for reader in readers] == ["draining"] * 4
    await ended_in_order(api)
    await eventually(lambda: upstream.aborted == 1)
    assert len(upstream.requests) == 1
    rows = await usage_rows(fleet, eventually, 4)
    assert {(row["status"], row["error_code"]) for row in rows} == {(503, "draining")}
    await eventually(lambda: nothing_is_left(redis))


async def test_an_api_and_its_workers_stopped_together_end_each_request_once(
    fleet: Fleet, upstream: NumberedUpstream, redis: Redis, eventually: Eventually
) -> None:
    """Both drain times end in the same moment: who comes first closes, and nothing is tried again elsewhere."""
    bounds = {"CLAW_DRAIN_S": "0.3", "CLAW_HEARTBEAT_BOUND_S": "60"}
    api = await fleet.api(**bounds)
    workers = [await fleet.worker(**bounds) for _ in range(2)]
    await fleet.recorder()
    await ready(api, eventually)
    await eventually(lambda: all("serving" in worker.log.read_text() for worker in workers))
    async with await clients(fleet, api) as client:
        upstream.hold_at = 7
        begun = [Reader(client) for _ in range(6)]
        await eventually(lambda: all(reader.content == words(7) for reader in begun))
        upstream.hold_at = 0
        silent = [whole(client) for _ in range(6)]
        await eventually(lambda: upstream.held == 12)
        for process in (api, *workers):
            process.terminate()
        replies = await asyncio.gather(*silent)
        await asyncio.gather(*(reader.task for reader in begun))
    assert {reader.error["code"] for reader in begun} == {"draining"}
    assert {(reply.status_code, reply.json()["error"]["code"]) for reply in replies} == {(503, "draining")}
    for process in (api, *workers):
        await ended_in_order(process)
    await eventually(lambda: upstream.aborted == 12)
    rows = await usage_rows(fleet, eventually, 12)
    assert {(row["status"], row["error_code"]) for row in rows} == {(503, "draining")}
    await eventually(lambda: nothing_is_left(redis))


def raw_request(api: Process, key: str, body: bytes, length: int) -> socket.socket:
    """Return a connection that has sent so much of a request and reads nothing."""
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
    opened = socket.socket()
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    opened.connect(("127.0.0.1", int(api.url.rpartition(":")[2])))
    opened.sendall(head.encode() + body)
    return opened


async def test_clients_that_neither_read_nor_send_hold_nothing_up(
    fleet: Fleet, upstream: NumberedUpstream, redis: Redis, eventually: Eventually
) -> None:
    """One reads nothing of a long answer, one never ends its body: both are cut, without a word of asyncio's."""
    api = await started(fleet, eventually, slots=2, CLAW_CLIENT_BUFFER_MIB="64")
    key = await fleet.key()
    upstream.tokens, upstream.hold_at = 26_000, 25_000
    body = json.dumps(chat(stream=True)).encode()
    with raw_request(api, key, body, len(body)), raw_request(api, key, b"{", 100):
        await eventually(lambda: upstream.held == 1)
        api.terminate()
        await ended_in_order(api)
    await eventually(lambda: upstream.aborted == 1)
    rows = await usage_rows(fleet, eventually, 2)
    assert sorted((row["status"], row["error_code"]) for row in rows) == [(499, "cancelled"), (503, "draining")]
    await eventually(lambda: nothing_is_left(redis))
