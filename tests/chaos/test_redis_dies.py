"""Redis is killed, restarted, or loses its subscribers in the middle of streams: nothing is lost."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import httpx
import pytest

from shared.redis import client as redis_client
from tests.fleet import chat, ready
from tests.streams import Reader, usage_rows
from tests.upstreams.numbered import NumberedUpstream, words

if TYPE_CHECKING:
    from cli.up.embedded.valkey import EmbeddedValkey
    from tests.conftest import Eventually
    from tests.fleet import Fleet

STREAMS = 30

pytestmark = pytest.mark.switched


def kill(valkey: EmbeddedValkey) -> None:
    """End Valkey as a power cut would; its supervisor starts it again."""
    assert valkey.child is not None
    assert valkey.child.pid is not None
    os.kill(valkey.child.pid, signal.SIGKILL)


async def held_streams(
    client: httpx.AsyncClient, upstream: NumberedUpstream, eventually: Eventually, hold_at: int = 7
) -> list[Reader]:
    """Thirty streams whose upstream waits in the middle, each token so far delivered."""
    upstream.hold_at = hold_at
    readers = [Reader(client) for _ in range(STREAMS)]
    await eventually(lambda: upstream.held == STREAMS)
    await eventually(lambda: all(reader.content == words(hold_at) for reader in readers))
    return readers


async def test_redis_killed_and_restarted_mid_stream_loses_nothing(
    client: httpx.AsyncClient,
    fleet: Fleet,
    valkey: EmbeddedValkey,
    upstream: NumberedUpstream,
    eventually: Eventually,
) -> None:
    """The upstreams go on while Redis is dead; every stream ends complete, in order, nothing repeated, logged once."""
    readers = await held_streams(client, upstream, eventually)
    kill(valkey)
    upstream.resume.set()
    await asyncio.gather(*(reader.task for reader in readers))
    assert [reader.content for reader in readers] == [words(40)] * STREAMS
    assert all(reader.done for reader in readers)
    rows = await usage_rows(fleet, eventually, STREAMS)
    assert {(row["status"], row["completion_tokens"]) for row in rows} == {(200, 40)}
    assert len(upstream.requests) == STREAMS


async def test_while_redis_is_away_new_requests_get_503_and_streams_go_on_afterwards(
    client: httpx.AsyncClient, valkey: EmbeddedValkey, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """A stopped Redis means 503 at once with a clear code, never a 401 or a hang, for streams and others."""
    readers = await held_streams(client, upstream, eventually)
    await valkey.stop()
    upstream.resume.set()
    for stream in (True, False):
        refused = await client.post("/v1/chat/completions", json=chat(stream=stream))
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "queue_unavailable"
        assert int(refused.headers["retry-after"]) > 0
    assert (await client.get("/ready")).status_code == 503
    assert (await client.get("/health")).status_code == 200
    await valkey.start()
    await asyncio.gather(*(reader.task for reader in readers))
    assert [reader.content for reader in readers] == [words(40)] * STREAMS

    async def served() -> bool:
        return (await client.post("/v1/chat/completions", json=chat())).status_code == 200

    await eventually(served)


async def test_a_frozen_redis_hangs_nobody(
    client: httpx.AsyncClient, valkey: EmbeddedValkey, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """It takes connections and never answers: 503 for more requests than there are connections; then all goes on."""
    readers = await held_streams(client, upstream, eventually)
    assert valkey.child is not None
    assert valkey.child.pid is not None
    os.kill(valkey.child.pid, signal.SIGSTOP)
    try:
        refused = await asyncio.gather(*(client.post("/v1/chat/completions", json=chat()) for _ in range(50)))
        assert {reply.status_code for reply in refused} == {503}
        assert (await client.get("/health")).status_code == 200
    finally:
        os.kill(valkey.child.pid, signal.SIGCONT)
    upstream.resume.set()
    await asyncio.gather(*(reader.task for reader in readers))
    assert [reader.content for reader in readers] == [words(40)] * STREAMS


async def test_a_redis_that_stays_away_too_long_ends_streams_with_one_clear_error(
    fleet: Fleet, valkey: EmbeddedValkey, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Past the configured bound each stream ends with one error event, and no [DONE]."""
    process = await fleet.api(CLAW_REDIS_OUTAGE_S="1")
    await fleet.worker()
    await ready(process, eventually)
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    async with httpx.AsyncClient(base_url=process.url, headers=headers, timeout=60) as client:
        upstream.hold_at = 7
        reader = Reader(client)
        await eventually(lambda: reader.content == words(7))
        await valkey.stop()
        await reader.task
    assert reader.content == words(7)
    assert reader.error["code"] == "queue_lost"
    assert not reader.done


async def test_cut_subscriptions_lose_nothing(
    client: httpx.AsyncClient,
    fleet: Fleet,
    valkey: EmbeddedValkey,
    upstream: NumberedUpstream,
    eventually: Eventually,
) -> None:
    """CLIENT KILL of every subscription, of the api and of the workers, just as the rest of the tokens is sent."""
    readers = await held_streams(client, upstream, eventually)
    redis = redis_client.connect(valkey.url())
    try:
        upstream.resume.set()
        await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")  # type: ignore[no-untyped-call]  # redis-py has no types here
    finally:
        await redis_client.close(redis)
    await asyncio.gather(*(reader.task for reader in readers))
    assert [reader.content for reader in readers] == [words(40)] * STREAMS
    rows = await usage_rows(fleet, eventually, STREAMS)
    assert {row["status"] for row in rows} == {200}


async def test_bodies_that_are_not_streamed_survive_too(
    client: httpx.AsyncClient, valkey: EmbeddedValkey, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """A reply in one body that is finished while Redis is dead arrives when it is back, generated once."""
    upstream.hold_at = 7
    requests = [asyncio.ensure_future(client.post("/v1/chat/completions", json=chat())) for _ in range(10)]
    await eventually(lambda: upstream.held == 10)
    kill(valkey)
    upstream.resume.set()
    replies = await asyncio.gather(*requests)
    assert {reply.json()["choices"][0]["message"]["content"] for reply in replies} == {words(40)}
    assert len(upstream.requests) == 10
