"""Limits of a key on reading what it has open or stored, and on storing more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shared.errors import RateLimited
from shared.redis.names import looks_key, written_key

if TYPE_CHECKING:
    from redis.asyncio import Redis

LIST_COSTS: Final = 10
"""A list costs as much as so many looks at one request."""
LOOK_BYTES: Final = 256 * 1024
"""A look has so many bytes; whoever is given or brings more pays for more looks."""
MOST_A_MINUTE: Final = 600
_MINUTE_S: Final = 60
_DAY_S: Final = 86_400


async def count_lookup(redis: Redis, owner: str, cost: int = 1) -> None:
    """Count a look of a key, in every api process together.

    Raises:
        RateLimited: it has looked too often in this minute.
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    name = looks_key(owner)
    pipeline = redis.pipeline(transaction=True)
    # The minute is that of the first look: NX leaves a later one alone, and INCRBY keeps the lifetime.
    pipeline.set(name, 0, ex=_MINUTE_S, nx=True)
    pipeline.incrby(name, cost)
    pipeline.ttl(name)
    _, taken, left_s = await pipeline.execute()
    if taken > MOST_A_MINUTE:
        raise RateLimited(
            f"Too many looks: {MOST_A_MINUTE} a minute, of which a list of requests costs {LIST_COSTS}, and every "
            f"{LOOK_BYTES // 1024} KiB beyond the first ones another one.",
            code="too_many_looks",
            # TTL rounds to whole seconds, and so is 0 in the last half of one.
            retry_after_s=max(1, left_s),
        )


async def charge_bytes(redis: Redis, owner: str, size_bytes: int) -> None:
    """Count the bytes of a look that was taken; the next one is refused where they are too many.

    Raises:
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    if cost := size_bytes // LOOK_BYTES:
        pipeline = redis.pipeline(transaction=True)
        pipeline.set(looks_key(owner), 0, ex=_MINUTE_S, nx=True)
        pipeline.incrby(looks_key(owner), cost)
        await pipeline.execute()


async def count_written_bytes(redis: Redis, owner: str, size_bytes: int, most_mib: int) -> None:
    """Count bytes that a key wants to have stored beside its requests to models, which its limits do not count.

    Raises:
        RateLimited: they are too many in a day.
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    pipeline = redis.pipeline(transaction=True)
    pipeline.set(written_key(owner), 0, ex=_DAY_S, nx=True)
    pipeline.incrby(written_key(owner), size_bytes)
    pipeline.ttl(written_key(owner))
    _, taken, left_s = await pipeline.execute()
    if taken > most_mib * 2**20:
        raise RateLimited(
            f"This key has brought {most_mib} MiB to its conversations in a day (CLAW_MAX_CONVERSATIONS_MIB).",
            code="too_many_bytes_stored",
            retry_after_s=max(1, left_s),
        )
