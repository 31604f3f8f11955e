"""Redis or Valkey: reachable, ours to use, keeping what it is given, patient with subscribers, recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import ResponseError

from shared.process.doctor.finding import Finding
from shared.redis import probe
from shared.redis.client import UNREACHABLE
from shared.redis.names import USAGE_STREAM

if TYPE_CHECKING:
    from redis.asyncio import Redis

OLDEST: Final = (6, 2)
"""The first with all the commands that we use (XAUTOCLAIM)."""
RELAY_BYTES: Final = 32 * 1024 * 1024
"""Bytes that an api may be behind: 8 MiB from each worker are on their way to it."""
LATE_S: Final = 60
NEARLY: Final = 0.9


async def check_redis(redis: Redis) -> tuple[bool, list[Finding]]:
    """Return whether it answers, and what was found."""
    try:
        await redis.ping()
        await probe.check(redis)
        return True, [*await _setup(redis), await _usage(redis)]
    except probe.RedisUnusable as error:
        return False, [Finding("redis", "wrong", str(error), "Then start the gateway's processes again.")]
    except UNREACHABLE as error:
        text = f"It does not answer: {error or type(error).__name__}"
        return False, [
            Finding("redis", "wrong", text, "Is it running, and is REDIS_URL right? (nself claw up has its own.)")
        ]


async def _setup(redis: Redis) -> list[Finding]:
    try:
        info: dict[str, Any] = await redis.info()
    except ResponseError as error:
        return [Finding("redis", "unchecked", f"INFO is not allowed: version, memory and persistence ({error})")]
    return [_version(info), _memory(info), *_persistence(info), await _buffer(redis)]


def _version(info: dict[str, Any]) -> Finding:
    name = "Valkey" if info.get("server_name") == "valkey" else "Redis"
    version = str(info.get("valkey_version") or info.get("redis_version", "?"))
    # Valkey says there which Redis it is compatible with.
    compatible = str(info.get("redis_version", "0"))
    if tuple(int(part) for part in compatible.split(".")[:2] if part.isdigit()) < OLDEST:
        return Finding("redis", "wrong", f"{name} {version} is too old", "Redis 6.2 or newer, or any Valkey.")
    return Finding("redis", "ok", f"{name} {version} answers")


def _memory(info: dict[str, Any]) -> Finding:
    most, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    policy = info.get("maxmemory_policy", "noeviction")
    if not most:
        return Finding("redis", "ok", f"maxmemory is not set, so nothing is evicted (maxmemory-policy {policy})")
    if policy != "noeviction":
        text = f"It may evict waiting jobs, limits and budgets: maxmemory-policy {policy}"
        return Finding("redis", "wrong", text, "CONFIG SET maxmemory-policy noeviction, and in its configuration file.")
    share = used / most
    if share > NEARLY:
        return Finding(
            "redis", "wrong", f"{share:.0%} of maxmemory are used: it will refuse writes", "A larger maxmemory."
        )
    return Finding("redis", "ok", f"maxmemory-policy noeviction, {share:.0%} of maxmemory used")


def _persistence(info: dict[str, Any]) -> list[Finding]:
    found = []
    if info.get("aof_enabled"):
        found.append(Finding("redis", "ok", "It keeps an append-only file"))
    else:
        text = "It keeps no append-only file: a restart loses waiting requests, and usage that is not recorded yet"
        found.append(Finding("redis", "note", text, "CONFIG SET appendonly yes, and in its configuration file."))
    failed = [name for name in ("aof_last_write_status", "rdb_last_bgsave_status") if info.get(name, "ok") != "ok"]
    if failed:
        text = f"It cannot write to its disk: {', '.join(failed)}"
        found.append(Finding("redis", "wrong", text, "Free some space on its disk; its log says more."))
    return found


async def _buffer(redis: Redis) -> Finding:
    """Check `client-output-buffer-limit pubsub`: `class hard soft seconds`, for each class."""
    try:
        words = str((await redis.config_get("client-output-buffer-limit"))["client-output-buffer-limit"]).split()
        hard, soft = (int(word) for word in words[words.index("pubsub") + 1 :][:2])
    except (ResponseError, KeyError, ValueError) as error:
        return Finding("redis", "unchecked", f"CONFIG GET is not allowed: client-output-buffer-limit ({error})")
    # The defaults of Redis, 32 MiB and 8 MiB for a minute, are enough.
    if (hard and hard < RELAY_BYTES) or (soft and soft < RELAY_BYTES // 4):
        text = f"It cuts a subscriber that is {min(filter(None, (hard, soft)))} bytes behind: answers would falter"
        mend = 'CONFIG SET client-output-buffer-limit "pubsub 32mb 8mb 60", and in its configuration file.'
        return Finding("redis", "wrong", text, mend)
    return Finding("redis", "ok", "client-output-buffer-limit pubsub is large enough")


async def _usage(redis: Redis) -> Finding:
    waiting, (now_s, _) = await redis.xlen(USAGE_STREAM), await redis.time()
    oldest = await redis.xrange(USAGE_STREAM, count=1)
    # An entry's id begins with the millisecond at which it was added.
    since_s = int(oldest[0][0].partition(b"-")[0]) // 1000 if oldest else now_s
    if now_s - since_s > LATE_S:
        text = f"{waiting} records of usage wait to be recorded, the oldest for {now_s - since_s} s"
        return Finding(
            "recorder", "wrong", text, "Start one: python -m workers recorder. If one runs, its log says why."
        )
    return Finding("recorder", "ok", "No usage waits for long to be recorded")
