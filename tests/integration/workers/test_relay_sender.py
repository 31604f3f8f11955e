"""With many streams at once, what the worker reads in one moment goes out as one message."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis

from shared.ids import new_request_id
from shared.redis.names import relay_channel
from shared.redis.subscription import next_message, subscription
from shared.relay import Kind, attempt_key, decode_frames
from shared.usage import Closing, UsageRecord
from tests.fleet import PATIENCE_S
from workers.relay.sender import BUSY_STREAMS, READ_TOGETHER, RelaySender

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import Eventually
    from workers.relay.outgoing import OutgoingStream

API, WORKER = b"a" * 16, b"w" * 16


def nothing(_: bytes | UsageRecord) -> None:
    """Take no note."""


@pytest.fixture
async def sender(redis: Redis) -> AsyncIterator[RelaySender]:
    """Yield a sender to an api process that does not answer."""
    made = RelaySender(redis, WORKER, API, retain_s=60, dead_s=60, on_dead=nothing, finished=nothing)
    yield made
    await made.close()


async def say(stream: OutgoingStream, text: bytes) -> None:
    """Wait for the turn to read, and say what was read."""
    await stream.pace()
    stream.push(Kind.CONTENT, text, 1)


async def test_what_many_streams_read_in_their_turn_is_one_message(redis: Redis, sender: RelaySender) -> None:
    """Nobody waits for a tick to be read, and for another one to be sent."""
    streams = [sender.open(attempt_key(new_request_id(), 1)) for _ in range(BUSY_STREAMS + 1)]
    async with subscription(redis, relay_channel(API)) as pubsub:
        gone, *said = [asyncio.create_task(say(stream, b"token")) for stream in streams]
        await asyncio.sleep(0)
        gone.cancel()  # its place in the line must not end the others' wait
        await asyncio.gather(*said)
        _, message = await next_message(pubsub, PATIENCE_S)
    frames = list(decode_frames(message))
    assert [key for key, *_ in frames] == [stream.key for stream in streams[1:]]
    assert {payload for *_, payload in frames} == {b"token"}


async def test_more_streams_than_are_read_together_all_get_their_turn(redis: Redis, sender: RelaySender) -> None:
    """Several turns of the loop, and nobody is forgotten."""
    streams = [sender.open(attempt_key(new_request_id(), 1)) for _ in range(2 * READ_TOGETHER + 1)]
    heard: set[bytes] = set()
    async with subscription(redis, relay_channel(API)) as pubsub:
        await asyncio.gather(*(say(stream, b"token") for stream in streams))
        while len(heard) < len(streams):
            _, message = await next_message(pubsub, PATIENCE_S)
            heard.update(key for key, *_ in decode_frames(message))
    assert heard == {stream.key for stream in streams}


async def test_readers_that_always_find_something_hold_up_nothing(redis: Redis, sender: RelaySender) -> None:
    """Who comes to wait during a turn has the next one: what was read is sent in between."""
    streams = [sender.open(attempt_key(new_request_id(), 1)) for _ in range(2 * READ_TOGETHER)]

    async def read_on(stream: OutgoingStream) -> None:
        while True:
            await say(stream, b"t")

    async with subscription(redis, relay_channel(API)) as pubsub:
        readers = [asyncio.create_task(read_on(stream)) for stream in streams]
        try:
            _, message = await next_message(pubsub, PATIENCE_S)
        finally:
            for reader in readers:
                reader.cancel()
    assert len(list(decode_frames(message))) < 2 * len(streams)


async def test_a_server_that_is_no_master_any_more_tells_nobody_of_an_end_that_it_does_not_write_down(
    valkey_url: str, sender: RelaySender, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    """It takes PUBLISH on and refuses writes: the end comes once the closing can be carried out too."""
    request_id = new_request_id()
    stream = sender.open(attempt_key(request_id, 1))
    # redis-py's own, which stays at a server that is no master.
    async with Redis.from_url(valkey_url) as plain, plain.pubsub(ignore_subscribe_messages=True) as pubsub:
        await pubsub.subscribe(relay_channel(API))

        async def heard() -> bytes:
            async with asyncio.timeout(PATIENCE_S):
                while (message := await pubsub.get_message(timeout=None)) is None:
                    pass
            return bytes(message["data"])

        stream.push(Kind.CONTENT, b"all of it", 3)
        assert [frame[1] for frame in decode_frames(await heard())] == [Kind.CONTENT]
        await plain.replicaof("127.0.0.1", "1")
        try:
            stream.push(Kind.END, b"", 0)
            stream.end(Closing(api_id=API.hex(), request_id=request_id, job_id=f"{request_id}-1"))
            await eventually(lambda: "Redis does not answer" in caplog.text)
            await plain.publish(relay_channel(API), b"nothing came before this")
            assert await heard() == b"nothing came before this"
        finally:
            await plain.replicaof("NO", "ONE")
        assert [frame[1] for frame in decode_frames(await heard())][-1] == Kind.END
        await eventually(lambda: stream.closing is None)
