"""A command that is cancelled, at any moment."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from redis.asyncio import Redis

STEPS = 40
"""More turns of the loop than a command takes."""


@pytest.mark.parametrize("is_first", [True, False], ids=["on a new connection", "on one that is open"])
async def test_a_cancellation_is_never_lost(redis: Redis, *, is_first: bool) -> None:
    """Whoever was cancelled does not go on: a client that left would never be noticed, and its model run to the end."""
    lost = []
    for turns in range(STEPS):
        if is_first:
            await redis.connection_pool.disconnect()
        task = asyncio.create_task(redis.get("nothing"))  # type: ignore[arg-type]  # redis-py: or awaitable
        for _ in range(turns):
            await asyncio.sleep(0)
        if task.cancel():
            await asyncio.wait([task])
            if not task.cancelled():
                lost.append(turns)
        await task if not task.cancelled() else None

    assert lost == []
    assert await redis.get("nothing") is None
