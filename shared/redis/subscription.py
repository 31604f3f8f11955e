"""Subscriptions: confirmed before anything is published whose answer comes there, and never silent for long."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from redis.exceptions import ConnectionError as RedisConnectionError

from shared.redis.client import COMMAND_TIMEOUT_S, MasterConnection
from shared.redis.listener import Listener
from shared.redis.pipe import PipedRedis

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis
    from redis.asyncio.client import PubSub

Subscription: TypeAlias = "Listener | PubSub"


@asynccontextmanager
async def confirmed_pubsub(redis: Redis, *channels: str) -> AsyncIterator[PubSub]:
    """Yield redis-py's own subscription to `channels`, for who is silent for long.

    Raises:
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    pubsub = redis.pubsub()
    try:
        await pubsub.subscribe(*channels)
        # Confirmed before anything is enqueued whose answer comes here: what is published earlier is lost.
        for _ in channels:
            if await pubsub.get_message(timeout=COMMAND_TIMEOUT_S) is None:
                raise RedisConnectionError("the subscription is not confirmed")
        yield pubsub
    finally:
        await pubsub.aclose()  # type: ignore[no-untyped-call]  # redis-py has no types here


@asynccontextmanager
async def subscription(redis: Redis, *channels: str) -> AsyncIterator[Subscription]:
    """Yield a subscription to `channels`, made when this is entered; its connection is closed at the end.

    Raises:
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    async with confirmed_pubsub(redis, *channels) as pubsub:
        connection = pubsub.connection
        if not isinstance(redis, PipedRedis) or not isinstance(connection, MasterConnection):
            yield pubsub
            return
        listener = await _listener(pubsub, connection)
        try:
            yield listener
        finally:
            listener.close()
            # redis-py would wait for an end that its own reader does not see any more.
            await connection.disconnect(nowait=True)


async def _listener(pubsub: PubSub, connection: MasterConnection) -> Listener:
    """Return who reads the connection from now on, with what redis-py has read of it."""
    listener = Listener(connection)
    # What came after redis-py's last look would stay in its buffer, where nobody looks again.
    connection.transport.pause_reading()
    early: list[tuple[bytes, bytes]] = []
    while (message := await pubsub.get_message(timeout=0)) is not None:
        if (found := _content(message)) is not None:
            early.append(found)
    listener.take_over(early)
    return listener


async def next_message(subscribed: Subscription, silence_s: float) -> tuple[bytes, bytes]:
    """Return the next message: its channel and its bytes.

    A subscriber that is never silent for long (each of ours sends itself a message every heartbeat)
    finds a dead connection by this.

    Raises:
        ConnectionError: nothing came for `silence_s` seconds, or the server is not the master any more.
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    if isinstance(subscribed, Listener):
        return await subscribed.next(silence_s)
    while True:
        message = await subscribed.get_message(timeout=silence_s)
        if message is None:
            raise ConnectionError("the subscription is silent")
        if isinstance(subscribed.connection, MasterConnection) and subscribed.connection.is_stale:
            # A replica hands on what its master publishes, but who publishes there counts no receiver.
            raise ConnectionError("the subscription is not at the master")
        if (found := _content(message)) is not None:
            return found


def _content(message: dict[str, Any]) -> tuple[bytes, bytes] | None:
    return (message["channel"], message["data"]) if message["type"] == "message" else None
