"""Open responses of the background, as they stand in Redis: what the next attempt needs, how far the present one is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from api.prompt.responses.preparation import EVENTS_BEFORE
from api.routing.eligibility import RoutingRequest
from shared.errors import ErrorInfo, RateLimited
from shared.ids import job_id
from shared.queue.placement import LARGE_BYTES, PlacementOptions
from shared.redis import scripts
from shared.redis.names import (
    BACKGROUND_API,
    background_key,
    open_requests,
    open_response_key,
    owner_of,
    response_events_key,
)
from shared.types import JobDraft, Started, Target

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis.asyncio import Redis

    from shared.relay import CancelReason

_encode: Final = msgspec.json.encode
_draft: Final = msgspec.json.Decoder(JobDraft)
_plan: Final = msgspec.json.Decoder(RoutingRequest)
_options: Final = msgspec.json.Decoder(PlacementOptions)
_target: Final = msgspec.json.Decoder(Target)
_started: Final = msgspec.json.Decoder(Started)
_failure: Final = msgspec.json.Decoder(ErrorInfo)
UNTIL_KEPT_MS: Final = 60_000
"""Time that a record stays which was opened, and of which nobody says that it was admitted."""
RETRY_S: Final = 5.0
_NO_BODY: Final = msgspec.Raw(b"null")
_FIELDS: Final = (
    "attempt",
    "target",
    "worker",
    "seen",
    "events",
    "tokens",
    "failure",
    "cancelled",
    "served",
    "patient",
)


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """The progress of a response.

    Args:
        attempt: the number of its present attempt.
        target: where that was put.
        worker: who has it, in hex digits; nothing while nobody has said so.
        seen_ms: when that last said that it lives, by the clock of Redis, in milliseconds since 1970.
        events: how many events there are.
        tokens: how many tokens are in them.
        failure: how the attempt failed, before its first content.
        cancelled: who wants it to end, a `CancelReason`; 0 where nobody does.
        served: who has the attempt, and what its upstream is known to bill.
        patient_until_ms: until when it may wait.
    """

    attempt: int
    target: Target
    worker: str = ""
    seen_ms: int = 0
    events: int = 0
    tokens: int = 0
    failure: ErrorInfo | None = None
    cancelled: int = 0
    served: Started | None = None
    patient_until_ms: int = 0

    @classmethod
    def of(cls, values: list[bytes | None]) -> Self | None:
        """Return what the fields say; None where the response is not open."""
        found = {name: value for name, value in zip(_FIELDS, values, strict=True) if value}
        if "attempt" not in found or "target" not in found:
            return None
        attempt = int(found["attempt"])
        number, _, worker = found.get("worker", b"").decode().partition(" ")
        # What a worker said of an earlier attempt is of no interest.
        is_its = number == str(attempt)
        return cls(
            attempt=attempt,
            target=_target.decode(found["target"]),
            worker=worker if is_its else "",
            seen_ms=int(found.get("seen", 0)) if is_its else 0,
            events=int(found.get("events", 0)),
            tokens=int(found.get("tokens", 0)),
            failure=_failure.decode(found["failure"]) if "failure" in found else None,
            cancelled=int(found.get("cancelled", 0)),
            served=_started.decode(found["served"]) if is_its and "served" in found else None,
            patient_until_ms=int(found.get("patient", 0)),
        )

    @property
    def status(self) -> str:
        """Return what OpenAI calls it."""
        return "in_progress" if self.worker else "queued"

    def job_of(self, request_id: str) -> str:
        """Return the id of its present attempt's job."""
        return job_id(request_id, self.attempt)


class BackgroundRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A stored request for its next attempt: with where it may go, and on which conditions."""

    draft: JobDraft
    wanted: RoutingRequest
    options: PlacementOptions


class BackgroundRecords:
    """The open ones of all keys. Every method raises `UNREACHABLE` while Redis does not answer.

    Args:
        redis: where they are.
        most: how many an owner may have.
    """

    def __init__(self, redis: Redis, most: int) -> None:
        self._redis = redis
        self.most = most

    async def open(self, request: BackgroundRequest, target: Target, begun: bytes) -> None:
        """Open a response before its request is admitted, without its body where that is large.

        Args:
            request: the request.
            target: where it will be put first.
            begun: its first events.

        Raises:
            RateLimited: its owner has too many, or too many bytes of them.
        """
        draft = request.draft
        owner = owner_of(draft.key_id)
        fields: dict[str, Any] = {
            "owner": owner,
            "draft": _encode(msgspec.structs.replace(draft, body=_NO_BODY)),
            **({} if draft.size_bytes > LARGE_BYTES else {"body": bytes(draft.body)}),
            "plan": _encode(request.wanted),
            "options": _encode(request.options),
            "attempt": draft.attempt,
            "target": _encode(target),
            "patient": draft.patient_until_ms,
            "before": EVENTS_BEFORE,
        }
        name = draft.request_id
        keys = [background_key(owner), open_response_key(name), response_events_key(name)]
        most_bytes = request.options.most_waiting_bytes // 2
        arguments = (name, self.most, UNTIL_KEPT_MS, draft.size_bytes, most_bytes, begun, *_flat(fields))
        opened = await scripts.run(self._redis, scripts.BACKGROUND_OPEN, keys, *arguments)
        if opened == 0:
            raise RateLimited(
                f"Too many responses of this key are in the background: {self.most} may be (CLAW_MAX_BACKGROUND).",
                code="too_many_background_responses",
                retry_after_s=RETRY_S,
            )
        if opened < 0:
            raise RateLimited(
                "The large requests of this key in the background have too many bytes together (half of "
                "CLAW_MAX_WAITING_MIB).",
                code="too_many_bytes_waiting",
                retry_after_s=RETRY_S,
            )

    async def keep(self, draft: JobDraft, target: Target, shown: bytes, life_ms: int) -> None:
        """Keep one that was admitted and put there, for as long as it may take; `shown` is what `shown_of` returns."""
        fields: dict[str, Any] = {"target": _encode(target), "shown": shown}
        # A large body only now: one that is refused is not sent to Redis.
        if draft.size_bytes > LARGE_BYTES:
            fields["body"] = bytes(draft.body)
        name = draft.request_id
        keys = [background_key(owner_of(draft.key_id)), open_response_key(name), response_events_key(name)]
        await scripts.run(self._redis, scripts.BACKGROUND_KEEP, keys, name, life_ms, *_flat(fields))

    async def forget(self, request_id: str, key_id: str | None) -> None:
        """Forget one that was not admitted."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.delete(open_response_key(request_id), response_events_key(request_id))
        pipeline.zrem(background_key(owner_of(key_id)), request_id)
        await pipeline.execute()

    async def all_open(self) -> list[str]:
        """Return the ids of all that are open."""
        return [name.decode() for name in await self._redis.hkeys(open_requests(BACKGROUND_API))]  # type: ignore[misc]  # redis-py: or awaitable

    async def progress(self, request_id: str) -> Progress | None:
        """Return how far one is; None where it is not open."""
        return Progress.of(await self._redis.hmget(open_response_key(request_id), list(_FIELDS)))  # type: ignore[misc]  # redis-py: or awaitable

    async def all_progress(self, names: list[str]) -> list[Progress | None]:
        """Return how far these are."""
        pipeline = self._redis.pipeline(transaction=False)
        for name in names:
            pipeline.hmget(open_response_key(name), list(_FIELDS))
        return [Progress.of(values) for values in await pipeline.execute()]

    async def shown(self, request_id: str) -> tuple[JobDraft, bytes] | None:
        """Return one without its body, and what is shown of that; None where it is not open, or not kept yet."""
        draft, shown = await self._redis.hmget(open_response_key(request_id), ["draft", "shown"])  # type: ignore[misc]  # redis-py: or awaitable
        return None if draft is None or shown is None else (_draft.decode(draft), shown)

    async def request(self, request_id: str) -> BackgroundRequest | None:
        """Return what the next attempt of one needs; None where it is not open."""
        fields = ["draft", "body", "plan", "options"]
        values = await self._redis.hmget(open_response_key(request_id), fields)  # type: ignore[misc]  # redis-py: or awaitable
        draft, body, plan, options = values
        if draft is None or body is None:
            return None
        return BackgroundRequest(
            draft=msgspec.structs.replace(_draft.decode(draft), body=msgspec.Raw(body)),
            wanted=_plan.decode(plan),
            options=_options.decode(options),
        )

    async def placed(self, request_id: str, target: Target) -> None:
        """Record where the present attempt was put."""
        await self._change(request_id, {"target": _encode(target)})

    async def follow_up(self, draft: JobDraft, target: Target) -> None:
        """Record that a further attempt is about to be put somewhere: what is said of earlier ones is over."""
        key = open_response_key(draft.request_id)
        fields: dict[str, Any] = {
            "attempt": draft.attempt,
            "target": _encode(target),
            "draft": _encode(msgspec.structs.replace(draft, body=_NO_BODY)),
        }
        # In one step: nobody may read the failure of the old attempt as that of the new one.
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.hset(key, mapping=fields)
        pipeline.hdel(key, "failure")
        await pipeline.execute()

    async def step_back(self, request_id: str, progress: Progress) -> None:
        """Record that the further attempt found no place: the one before is still the present one."""
        fields: dict[str, Any] = {"attempt": progress.attempt, "target": _encode(progress.target)}
        if progress.failure is not None:
            fields["failure"] = _encode(progress.failure)
        await self._change(request_id, fields)

    async def cancel(self, request_id: str, by: CancelReason) -> None:
        """Record that somebody wants one to end."""
        # HSET would make a hash of a response that has ended, and nobody would close that.
        if await self._redis.exists(open_response_key(request_id)):
            await self._change(request_id, {"cancelled": int(by)})

    async def _change(self, request_id: str, fields: dict[str, Any]) -> None:
        await self._redis.hset(open_response_key(request_id), mapping=fields)  # type: ignore[misc]  # redis-py: or awaitable


def _flat(fields: Mapping[str, Any]) -> list[Any]:
    return [part for field in fields.items() for part in field]
