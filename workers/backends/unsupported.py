"""Parameters that a backend's models have lately rejected as unsupported, as all of its workers found out.

One caller's odd value must not take a parameter away from all: only what two keys or two different values met is
taken to be the model's. It is in Redis, for an hour; api processes learn it from the workers' announcements.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from typing import TYPE_CHECKING, Final

import msgspec

from shared.errors import InvalidRequest, ParameterUnsupported
from shared.models.rejected_parameters import is_valid, rejected_ability
from shared.process.outage import OutageLog
from shared.redis.client import UNREACHABLE
from shared.redis.names import unsupported_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from redis.asyncio import Redis

    from shared.openai.request import ChatRequest

_log = logging.getLogger(__name__)

KEPT_MS: Final = 3_600_000
LOOK_S: Final = 5.0
REDIS_S: Final = 1.0
"""Time that a step in Redis may hold an attempt up."""
_DIGITS: Final = 16

Evidence = tuple[str, str, str, str]
"""Model, ability, digest of the key, digest of the value."""


class UnsupportedParameters:
    """Parameters that the models of one backend have lately rejected.

    Args:
        redis: connections that every part shares.
        queue: the backend's.
    """

    def __init__(self, redis: Redis, queue: str) -> None:
        self._redis = redis
        self._key = unsupported_key(queue)
        self._queue = queue
        self._until_ms: dict[str, dict[str, int]] = {}
        self._outage = OutageLog(_log, "Redis", "unsupported parameters")
        self._on_change: Callable[[], None] | None = None

    def until_ms(self) -> dict[str, dict[str, int]]:
        """Return until when (ms since 1970) which models are taken not to be able to do what."""
        return self._until_ms

    def rejected(self, model: str) -> tuple[str, ...]:
        """Return what a model has lately rejected."""
        known = self._until_ms.get(model)
        if not known:
            return ()
        now_ms = time.time() * 1000
        return tuple(ability for ability, until in known.items() if until > now_ms)

    async def judged(
        self, rejection: ParameterUnsupported, request: ChatRequest, model: str, caller: str
    ) -> InvalidRequest:
        """Return the error of a request of which a model rejected a parameter, and note what that says of the model.

        Args:
            rejection: the upstream's.
            request: the client's.
            model: that rejected.
            caller: whose request it is.
        """
        # A value that OpenAI's document does not know says nothing of the model: its caller is to blame.
        if not is_valid(rejection, request.fields):
            return InvalidRequest(rejection.message, param=rejection.param, code=rejection.code)
        ability = rejected_ability(rejection, request.fields)
        if ability is not None and ability not in self.rejected(model):
            value = msgspec.json.encode(request.fields[rejection.param or ""])
            await self._note((model, ability, _digest(caller.encode()), _digest(value)))
        return rejection

    async def follow(self, on_change: Callable[[], None]) -> None:
        """Follow what other workers find out, for good; `on_change` is called when it is news."""
        self._on_change = on_change
        while True:
            await self._step()
            await asyncio.sleep(LOOK_S)

    async def _note(self, evidence: Evidence) -> None:
        model, ability, *_ = evidence
        await self._step(evidence)
        if ability in self.rejected(model):
            _log.warning("%s: %s refuses '%s': it goes without for an hour", self._queue, model, ability)

    async def _step(self, evidence: Evidence | None = None) -> None:
        """Add evidence, if there is any, and read what stands there."""
        now_ms = int(time.time() * 1000)
        try:
            async with asyncio.timeout(REDIS_S):
                if evidence is not None:
                    pipeline = self._redis.pipeline(transaction=False)
                    pipeline.zremrangebyscore(self._key, 0, now_ms)
                    pipeline.zadd(self._key, {"\n".join(evidence): now_ms + KEPT_MS})
                    pipeline.pexpire(self._key, KEPT_MS)
                    await pipeline.execute()
                found = await self._redis.zrange(self._key, 0, -1, withscores=True)
                until_ms = _learned(found, now_ms)
                if evidence is not None and evidence[1] in until_ms.get(evidence[0], {}):
                    # All of it stands as long as the last of it: what was found out holds for an hour from now.
                    start = "\n".join(evidence[:2]).encode() + b"\n"
                    again = {member: now_ms + KEPT_MS for member, _ in found if member.startswith(start)}
                    await self._redis.zadd(self._key, again, xx=True)
                    until_ms[evidence[0]][evidence[1]] = now_ms + KEPT_MS
        except UNREACHABLE as error:
            self._outage.failed(error)
            return
        self._outage.answered()
        if until_ms != self._until_ms:
            self._until_ms = until_ms
            if self._on_change is not None:
                self._on_change()


def _learned(found: Iterable[tuple[bytes, float]], now_ms: int) -> dict[str, dict[str, int]]:
    """Return until when what holds that two keys or two values met."""
    by_ability: dict[tuple[str, str], list[tuple[str, str, int]]] = {}
    for member, score in found:
        # From the right: a model's name is its server's to choose, and may have a line break.
        parts = member.decode().rsplit("\n", 3)
        if len(parts) == len(Evidence.__args__) and score > now_ms:  # type: ignore[attr-defined]  # Literal has it at run time
            model, ability, key, value = parts
            by_ability.setdefault((model, ability), []).append((key, value, int(score)))
    until_ms: dict[str, dict[str, int]] = {}
    for (model, ability), met in sorted(by_ability.items()):
        if len({key for key, *_ in met}) > 1 or len({value for _, value, _ in met}) > 1:
            until_ms.setdefault(model, {})[ability] = min(until for *_, until in met)
    return until_ms


def _digest(text: bytes) -> str:
    """Return a few hex digits that tell texts apart: neither keys' ids nor what clients send need stand there."""
    return hashlib.sha256(text).hexdigest()[:_DIGITS]
