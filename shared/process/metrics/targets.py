"""The processes that have metrics: each says so in Redis, and each can list them all for Prometheus."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

import msgspec

from shared.redis.client import UNREACHABLE
from shared.redis.names import METRICS_TARGETS
from shared.settings import host_name

if TYPE_CHECKING:
    from redis.asyncio import Redis

RENEW_S: Final = 10.0
LIFE_S: Final = 900
"""So long a process that was killed is listed still, or nothing could tell that it is down; others withdraw."""


class Target(msgspec.Struct, frozen=True):
    """A process with metrics: where it listens, what it is, on which machine."""

    address: str
    role: str
    machine: str


_decode: Final = msgspec.json.Decoder(Target).decode


class Targets:
    """Announces one process, and reads what all announce.

    Args:
        redis: where they stand.
        role: `api`, a tier, or `recorder`.
        host: where this process listens.
        port: and at which port.
    """

    def __init__(self, redis: Redis, role: str, host: str, port: int) -> None:
        self._redis = redis
        self._machine = host_name()
        own = self._machine if _is_any(host) else host
        self._own = msgspec.json.encode(
            Target(f"[{own}]:{port}" if ":" in own else f"{own}:{port}", role, self._machine)
        )

    async def announce(self) -> None:
        """Announce this process, for good."""
        while True:
            try:
                # By the clock of Redis: those of machines may differ.
                now_s, _ = await self._redis.time()
                pipeline = self._redis.pipeline(transaction=False)
                pipeline.zadd(METRICS_TARGETS, {self._own: now_s + LIFE_S})
                pipeline.zremrangebyscore(METRICS_TARGETS, "-inf", now_s)
                # Once no process is left, nobody takes out what is too old.
                pipeline.expire(METRICS_TARGETS, LIFE_S)
                await pipeline.execute()
            except UNREACHABLE:
                pass  # said by those who need it
            await asyncio.sleep(RENEW_S)

    async def withdraw(self) -> None:
        """Announce this process no more.

        Raises:
            RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
        """
        await self._redis.zrem(METRICS_TARGETS, self._own)

    async def document(self) -> bytes:
        """Return the processes that can be reached from this machine, as HTTP service discovery wants them; JSON."""
        try:
            found = [_decode(raw) for raw in await self._redis.zrange(METRICS_TARGETS, 0, -1)]
        except UNREACHABLE:
            found = [_decode(self._own)]
        listed: list[dict[str, Any]] = [
            {"targets": [target.address], "labels": {"role": target.role, "machine": target.machine}}
            for target in found
            # Another machine's loopback address would lead to ours.
            if target.machine == self._machine or not _is_loopback(target.address)
        ]
        return msgspec.json.encode(listed)


def _is_any(host: str) -> bool:
    return host in {"", "0.0.0.0", "::"}  # noqa: S104 -- compared, not bound


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
