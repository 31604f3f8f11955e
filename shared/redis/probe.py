"""Find out whether a Redis can serve us at all, and say what to mend where it cannot."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from redis.exceptions import AuthenticationError, OutOfMemoryError, RedisError, ResponseError

from shared.redis import scripts
from shared.redis.client import UNREACHABLE, close, connect, state_of
from shared.redis.names import (
    NEWS_CHANNEL,
    PROBE_KEYS,
    USAGE_STREAM,
    control_channel,
    job_key,
    relay_channel,
    wake_channel,
)
from shared.redis.server_state import fault_text
from shared.redis.subscription import subscription

if TYPE_CHECKING:
    from redis.asyncio import Redis

_log = logging.getLogger(__name__)

_PROBE: Final = b"probe"
CHANNELS: Final = (wake_channel("probe"), relay_channel(_PROBE), control_channel(_PROBE), NEWS_CHANNEL)
_KEYS: Final = (*PROBE_KEYS, USAGE_STREAM, job_key("probe"))
_PERMISSIONS: Final = (
    "give the user of REDIS_URL the keys claw:* and arq:*, the channels claw:* and the commands of "
    "strings, hashes, sets, sorted sets, lists, streams, scripts and pub/sub"
)
_MEND: Final = {
    "NoPermission": _PERMISSIONS,
    "OutOfMemory": "raise its maxmemory, or free memory",
    "MISCONF": "it cannot write its data to disk: see its log, and free space there",
    "CROSSSLOT": "Redis Cluster is not supported: use one master, with Sentinel if it shall fail over",
    "CLUSTERDOWN": "Redis Cluster is not supported: use one master, with Sentinel if it shall fail over",
    "Authentication": "the user or the password in REDIS_URL is wrong",
}


class RedisUnusable(Exception):
    """A Redis that answers, but cannot serve us; the text says why, and what to mend."""


async def check(redis: Redis) -> None:
    """Run once what requests run.

    Raises:
        RedisUnusable: the server refuses some of it.
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    try:
        await scripts.run(redis, scripts.PROBE, _KEYS, *CHANNELS)
    except (ResponseError, AuthenticationError) as error:
        raise RedisUnusable(explained(error)) from error


async def fault_of(redis: Redis, before: str) -> str:
    """Return what Redis refuses of what answers need; empty where it refuses nothing, `before` while it is away."""
    if not state_of(redis).fault:
        return ""
    try:
        await check(redis)
    except RedisUnusable as error:
        return str(error)
    except UNREACHABLE:
        return before
    return ""


async def check_at_start(url: str) -> None:
    """Check all that a process needs, also what does not change while a server runs. One that is away may come yet.

    Raises:
        RedisUnusable: the server cannot serve us as it is set up.
    """
    redis = connect(url)
    try:
        await check(redis)
        # Subscribing needs rights of its own, and a script cannot do it.
        async with subscription(redis, *CHANNELS):
            pass
        await _check_setup(redis)
    except (ResponseError, AuthenticationError) as error:
        raise RedisUnusable(explained(error)) from error
    except UNREACHABLE as error:
        _log.warning("Redis does not answer yet: %s", error)
    finally:
        await close(redis)


async def _check_setup(redis: Redis) -> None:
    try:
        info = await redis.info()
    except ResponseError:
        _log.warning("Redis does not let this user see INFO: its eviction policy and cluster mode are not checked")
        return
    if info.get("cluster_enabled"):
        raise RedisUnusable(f"Redis runs in cluster mode: {_MEND['CROSSSLOT']}.")
    policy = info.get("maxmemory_policy", "noeviction")
    if info.get("maxmemory") and policy != "noeviction":
        raise RedisUnusable(
            f"Redis may evict keys (maxmemory-policy {policy}), and with them waiting jobs, limits and budgets: "
            "set maxmemory-policy noeviction, or maxmemory 0."
        )


def explained(error: RedisError) -> str:
    """Return what Redis said and what to mend, as far as its code tells."""
    text = fault_text(error)
    code = "OutOfMemory" if isinstance(error, OutOfMemoryError) else text.partition(" ")[0].rstrip(":")
    if "ACL failure in script" in text:  # the only form that a script's NOPERM has
        code = "NoPermission"
    mend = _MEND.get(code)
    return f"Redis refuses what the gateway needs ({text})" + (f": {mend}." if mend else ".")
