"""One item that nobody expects: a name of 300 kB, a frame that cannot be read. It harms what it is about alone."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis

from shared.redis.names import API_SET, NEWS_CHANNEL, WORKERS, control_channel, relay_channel
from shared.relay import Kind, attempt_key, encode_frame
from tests.attack.bodies import BODIES
from tests.attack.meters import alive
from tests.fleet import chat
from tests.streams import Reader, events, usage_rows
from tests.upstreams.numbered import words

if TYPE_CHECKING:
    import httpx

    from cli.up.embedded.valkey import EmbeddedValkey
    from tests.conftest import Eventually
    from tests.fleet import Fleet
    from tests.upstreams.numbered import NumberedUpstream


async def held_stream(client: httpx.AsyncClient, upstream: NumberedUpstream, eventually: Eventually) -> Reader:
    """Return a stream that is in the middle of its answer."""
    upstream.hold_at, upstream.resume = 7, asyncio.Event()
    reader = Reader(client)
    await eventually(lambda: reader.content == words(7))
    return reader


async def let_go(reader: Reader, upstream: NumberedUpstream) -> None:
    """Check that the stream goes on and ends whole."""
    upstream.hold_at = None
    upstream.resume.set()
    await reader.task
    assert reader.content == words(upstream.tokens)
    assert reader.done


async def ids(valkey: EmbeddedValkey) -> tuple[bytes, bytes]:
    """Return the api process and the worker, 16 bytes each."""
    async with Redis.from_url(valkey.url()) as redis:
        (api,), (worker,) = await redis.smembers(API_SET), await redis.smembers(WORKERS)
    return bytes.fromhex(api.decode()), bytes.fromhex(worker.decode())


async def publish(valkey: EmbeddedValkey, *messages: tuple[str, bytes]) -> None:
    """Publish something on channels of the gateway's."""
    async with Redis.from_url(valkey.url()) as redis:
        for channel, message in messages:
            await redis.publish(channel, message)


async def test_a_name_of_300_kb_ends_no_process_and_no_stream(
    fleet: Fleet, client: httpx.AsyncClient, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Wherever it stands it is refused, ignored or passed on; a stream beside it is whole."""
    await fleet.worker("paid", OPENAI_API_KEY="sk-x", CLAW_OPENAI_URL=upstream.url)
    processes = [process.name for process in fleet.processes]
    reader = await held_stream(client, upstream, eventually)
    for body in BODIES.values():
        beside = asyncio.ensure_future(client.post("/v1/chat/completions", json=chat(**body)))
        upstream.hold_at = None
        reply = await beside
        assert reply.status_code in {200, 400, 404, 503}, reply.text[:300]
        assert len(reply.content) < 8_000
    await let_go(reader, upstream)
    assert alive(fleet) == processes
    assert len(await usage_rows(fleet, eventually, 1 + len(BODIES))) == 1 + len(BODIES)


@pytest.mark.parametrize(
    "rest",
    [
        b"",
        b"\0",
        os.urandom(64),
        encode_frame(attempt_key("ab" * 16, 1), Kind.CONTENT, 0, 1, b"x" * 10)[:-3],
        encode_frame(attempt_key("ab" * 16, 1), Kind.START, 0, 0, b"no JSON"),
    ],
    ids=["nothing", "a byte", "anything", "a frame cut off", "a frame of nobody"],
)
async def test_a_message_that_cannot_be_read_ends_no_process_and_no_stream(
    fleet: Fleet,
    client: httpx.AsyncClient,
    upstream: NumberedUpstream,
    valkey: EmbeddedValkey,
    eventually: Eventually,
    *,
    rest: bytes,
) -> None:
    """On each channel that a process listens to."""
    processes = alive(fleet)
    reader = await held_stream(client, upstream, eventually)
    api, worker = await ids(valkey)
    channels = (relay_channel(api), control_channel(worker))
    await publish(valkey, *((channel, sender + rest) for channel in channels for sender in (b"", b"w" * 16)))
    await publish(valkey, (NEWS_CHANNEL, b"revoked \xff" + rest), (NEWS_CHANNEL, rest))
    await let_go(reader, upstream)
    assert alive(fleet) == processes


@pytest.mark.parametrize("kind", [Kind.END, Kind.ERROR, Kind.START, 99], ids=str)
async def test_a_frame_that_cannot_be_read_fails_its_attempt_alone(
    fleet: Fleet,
    client: httpx.AsyncClient,
    upstream: NumberedUpstream,
    valkey: EmbeddedValkey,
    eventually: Eventually,
    *,
    kind: Kind,
) -> None:
    """Its client gets an error event, its model is stopped, the log says so; the stream beside it is whole."""
    processes = alive(fleet)
    bad = await held_stream(client, upstream, eventually)
    api, worker = await ids(valkey)
    request_id = str(events(bad.text.rpartition("\n\n")[0])[0]["id"]).removeprefix("chatcmpl-")
    good = Reader(client)
    await eventually(lambda: good.content == words(7))
    # The next frame in order: a START and seven of content, or fewer where several went together.
    frames = [encode_frame(attempt_key(request_id, 1), kind, number, 0, b"not JSON") for number in range(1, 12)]
    await publish(valkey, *((relay_channel(api), worker + frame) for frame in frames))
    await bad.task
    assert bad.error["code"] == "internal_error"
    await eventually(lambda: upstream.aborted == 1)
    await let_go(good, upstream)
    assert alive(fleet) == processes
    rows = await usage_rows(fleet, eventually, 2)
    assert sorted(row["status"] for row in rows) == [200, 500]
