"""A bound on how often one address may try to sign in."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Final

from shared.errors import RateLimited
from shared.redis.names import ui_tries_key

if TYPE_CHECKING:
    from redis.asyncio import Redis

MOST_TRIES: Final = 10
WINDOW_S: Final = 15 * 60
_IPV6_PREFIX: Final = 64
"""Prefix of one subscriber: all of it counts as one address."""


async def count_try(redis: Redis, address: str | None) -> None:
    """Count a try before it is looked at, so that many at once are no way around the bound.

    Raises:
        RateLimited: there were too many; the error says when it may be tried again.
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    name = ui_tries_key(_counted(address))
    pipeline = redis.pipeline(transaction=True)
    # The window is that of the first try: who goes on does not move its end.
    pipeline.set(name, 0, ex=WINDOW_S, nx=True)
    pipeline.incr(name)
    pipeline.ttl(name)
    _, tries, left_s = await pipeline.execute()
    if tries > MOST_TRIES:
        minutes = max(1, -(-left_s // 60))
        raise RateLimited(
            f"Too many tries to sign in from this address. Try again in {minutes} minute{'s' * (minutes > 1)}.",
            code="too_many_tries",
            retry_after_s=max(1, left_s),
        )


async def forget_tries(redis: Redis, address: str | None) -> None:
    """Forget the tries of an address that has signed in.

    Raises:
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    await redis.delete(ui_tries_key(_counted(address)))


def _counted(address: str | None) -> str:
    try:
        found = ip_address(address or "")
    except ValueError:
        return "unknown"
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:  # so a listener of IPv6 names clients of IPv4 (RFC 4291)
            return str(found.ipv4_mapped)
        return str(ip_network((int(found), _IPV6_PREFIX), strict=False).network_address)
    return str(found)
