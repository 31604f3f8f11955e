"""How often a key may look at its own open requests: that costs reading what all keys have open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shared.errors import RateLimited
from shared.redis.names import looks_key

if TYPE_CHECKING:
    from redis.asyncio import Redis

LIST_COSTS: Final = 10
"""A list costs as much as so many looks at one request."""
MOST_A_MINUTE: Final = 600
_MINUTE_S: Final = 60


async def take_look(redis: Redis, owner: str, cost: int = 1) -> None:
    """Count a look of a key, in every api process together.

    Raises:
        RateLimited: it has looked too often in this minute.
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    name = looks_key(owner)
    pipeline = redis.pipeline(transaction=True)
    pipeline.set(name, 0, ex=_MINUTE_S, nx=True)
    pipeline.incrby(name, cost)
    pipeline.ttl(name)
    _, taken, left_s = await pipeline.execute()
    if taken > MOST_A_MINUTE:
        raise RateLimited(
            f"Too many looks at requests: {MOST_A_MINUTE} a minute, of which a list costs {LIST_COSTS}.",
            code="too_many_looks",
            retry_after_s=max(1, left_s),
        )
