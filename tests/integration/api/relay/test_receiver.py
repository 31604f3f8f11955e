"""The relay's receiving side, with the test as the worker."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from api.relay.incoming import IncomingStream
from api.relay.receiver import RelayReceiver
from shared.errors import Draining
from shared.redis.names import control_channel, relay_channel
from shared.redis.subscription import next_message, subscription
from shared.relay import CancelReason, Kind, Signal, attempt_key, cancelled_for, decode_signals, encode_frame
from shared.settings import Settings
from shared.types import Target
from tests.fleet import PATIENCE_S

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from tests.conftest import Eventually

API, WORKER = b"a" * 16, b"w" * 16
KEY = attempt_key("72" * 16, 1)
TARGET = Target("local", "arq:queue:local:here", "model")


async def test_an_attempt_that_starts_after_it_was_aborted_is_cancelled_before_the_process_ends(
    redis: Redis, eventually: Eventually
) -> None:
    """Its job was claimed in the moment of the abort: the worker's first word is waited for, and answered."""
    relay = RelayReceiver(
        Settings(data_dir=Path("nowhere")), redis, API, on_news=lambda _: None, load_of=lambda _: None
    )
    await relay.start()
    await eventually(lambda: relay.connected)
    stream = IncomingStream(KEY, "job", TARGET, whole=False)
    relay.expect(stream, lambda: None)
    stream.abort(Draining("enough"), CancelReason.DRAINING)
    ended: list[bool] = []
    relay.cancel(stream, CancelReason.DRAINING, lambda: ended.append(True))
    async with subscription(redis, control_channel(WORKER)) as pubsub:
        settled = asyncio.create_task(relay.settle())
        await asyncio.sleep(0)
        assert not settled.done()
        said = set()
        # What was on its way says nothing of its end: each is answered with the reason, and not with another one.
        for number, kind in enumerate((Kind.START, Kind.CONTENT, Kind.CONTENT)):
            assert not ended
            await redis.publish(relay_channel(API), WORKER + encode_frame(KEY, kind, number, 0, b""))
            while (KEY, Signal.CANCEL, CancelReason.DRAINING) not in said:
                said |= set(decode_signals((await next_message(pubsub, PATIENCE_S))[1]))
            said.discard((KEY, Signal.CANCEL, CancelReason.DRAINING))
        error = msgspec.json.encode(cancelled_for(CancelReason.DRAINING).to_info())
        await redis.publish(relay_channel(API), WORKER + encode_frame(KEY, Kind.ERROR, 3, 0, error))
        await settled
        await relay.stop()
    assert {sequence for _, kind, sequence in said if kind == Signal.CANCEL} == set()
    assert (ended, relay.open_attempts) == ([True], 0)
