"""What an api process says to a worker over pub/sub may be lost: it is said again."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from shared.redis import client as redis_client
from shared.redis.subscription import next_message, subscription
from shared.relay import Signal, decode_signals
from tests.fleet import PATIENCE_S
from tests.streams import Reader, usage_rows
from tests.upstreams.numbered import NumberedUpstream, words

if TYPE_CHECKING:
    import httpx

    from cli.up.embedded.valkey import EmbeddedValkey
    from tests.conftest import Eventually
    from tests.fleet import Fleet


async def test_a_cancellation_that_was_lost_is_reported_again(
    client: httpx.AsyncClient,
    fleet: Fleet,
    valkey: EmbeddedValkey,
    upstream: NumberedUpstream,
    eventually: Eventually,
) -> None:
    """A client leaves while its worker has no subscription: the upstream is closed all the same, and it is logged."""
    upstream.hold_at = 3
    reader = Reader(client)
    await eventually(lambda: reader.content == words(3))
    worker = next(process for process in fleet.processes if process.name.startswith("local"))
    redis = redis_client.connect(valkey.url())
    try:
        (channel,) = await redis.pubsub_channels("claw:control:*")
        (relay,) = await redis.pubsub_channels("claw:relay:*")
        worker.process.send_signal(signal.SIGSTOP)
        await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")  # type: ignore[no-untyped-call]  # redis-py has no types here

        async def api_is_back() -> bool:
            return bool(dict(await redis.pubsub_numsub(relay))[relay])

        await eventually(api_is_back)
        async with subscription(redis, channel.decode()) as listening:
            reader.task.cancel()
            said: set[int] = set()
            while Signal.CANCEL not in said:
                _, message = await next_message(listening, PATIENCE_S)
                said |= {kind for _, kind, _ in decode_signals(message)}
        worker.process.send_signal(signal.SIGCONT)
    finally:
        await redis_client.close(redis)
    await eventually(lambda: upstream.aborted == 1)
    (row,) = await usage_rows(fleet, eventually, 1)
    assert (row["status"], row["error_code"]) == (499, "cancelled")
