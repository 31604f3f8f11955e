"""Simulated time for the gateway's own code and scripts: a day passes in a minute.

The scripts ask Redis for the time. Before a script is sent, that call is replaced by one that reads the simulated time
from a key. What expires by itself (PEXPIRE) does so in real time and so lives for longer than it would; the scripts
do not depend on that, since each also leaves out what is too old by its score.
"""

from __future__ import annotations

import hashlib
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

from redis.exceptions import NoScriptError

import api.routing.live_backends
import shared.queue.arq_queue
import shared.queue.placement
import workers.accounts.state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis.asyncio import Redis
    from redis.asyncio.client import Pipeline

_CLOCK_KEY: Final = "bench:clock"
_REAL: Final = "redis.call('TIME')"
_SIMULATED: Final = f"redis.call('HMGET', '{_CLOCK_KEY}', 's', 'us')"


class Clock:
    """The simulated time. It can stand for the modules `time` and `datetime.datetime` where those are asked for it.

    Args:
        began_ms: when the day begins, in milliseconds since 1970.
    """

    def __init__(self, began_ms: int) -> None:
        self.began_ms = began_ms
        self.now_ms = began_ms

    def time(self) -> float:
        """Return the seconds since 1970."""
        return self.now_ms / 1000

    # Modules that it stands for ask for either.
    monotonic = time

    def now(self, zone: tzinfo | None = UTC) -> datetime:
        """Return the same as a moment."""
        return datetime.fromtimestamp(self.now_ms / 1000, zone)

    @contextmanager
    def in_charge(self) -> Iterator[None]:
        """Let the gateway's modules that the simulator runs go by this clock."""
        with ExitStack() as stack:
            for module in (api.routing.live_backends, shared.queue.placement, shared.queue.arq_queue):
                stack.enter_context(patch.object(module, "time", self))
            stack.enter_context(patch.object(workers.accounts.state, "datetime", self))
            yield


class ClockedRedis:
    """A Redis client whose scripts go by the simulated time: as much of one as the simulator's parts use.

    Args:
        redis: the real client.
        clock: the time.
    """

    def __init__(self, redis: Redis, clock: Clock) -> None:
        self._redis = redis
        self._clock = clock
        self._sent_ms = -1
        self._digests: dict[str, str] = {}

    async def execute_command(self, command: str, *arguments: Any) -> Any:
        if command == "EVAL":
            script: str = arguments[0]
            # The server then knows another script than was asked for, so both digests are kept.
            changed = script.replace(_REAL, _SIMULATED)
            self._digests[_digest(script)] = _digest(changed)
            arguments = (changed, *arguments[1:])
        elif command == "EVALSHA":
            if arguments[0] not in self._digests:
                # The server may know it from others, as it goes by the real time.
                raise NoScriptError
            arguments = (self._digests[arguments[0]], *arguments[1:])
        # Once for each moment: many commands come in the same one.
        if self._sent_ms != self._clock.now_ms:
            self._sent_ms = self._clock.now_ms
            seconds, ms = divmod(self._sent_ms, 1000)
            await self._redis.hset(_CLOCK_KEY, mapping={"s": seconds, "us": ms * 1000})  # type: ignore[misc]  # redis-py: or awaitable
        return await self._redis.execute_command(command, *arguments)  # type: ignore[no-untyped-call]  # redis-py has no types here

    def pipeline(self, *, transaction: bool) -> Pipeline:
        """Return a pipeline, for commands that do not ask for the time."""
        return self._redis.pipeline(transaction=transaction)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._redis, name)


def _digest(script: str) -> str:
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
