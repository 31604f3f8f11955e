"""One step in Redis that admits a request or refuses it: revocation, limit, budget, queue bounds, enqueueing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
from redis.exceptions import ResponseError

from api.admission.token_limit import TokensRateLimited
from shared.errors import BudgetSpent, GatewayError, Overloaded, RateLimited, Unauthenticated
from shared.queue.placement import mortal, place
from shared.redis import scripts
from shared.redis.client import UNREACHABLE
from shared.redis.names import (
    API_SET,
    open_requests,
    owner_of,
    rate_key,
    revision_key,
    revoked_key,
    tokens_key,
)
from shared.usage import UsageRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    from api.admission.auth import Principal
    from shared.queue.placement import Candidate, PlacementOptions
    from shared.types import JobDraft

BUDGET_HELD_RETRY_S = 5
BYTES_RETRY_S = 5
MINUTE_US = 60_000_000
ADMIT_TIMEOUT_S = 1.8
"""For a free connection and the answer together: a frozen Redis means 503 within two seconds."""
BODY_TIMEOUT_S = 10.0
"""For a large body, once it has a place, which is kept for so long (place.lua)."""


class QueueUnavailable(Overloaded):
    """Redis does not answer; whether it did what it was asked is not known."""

    code = "queue_unavailable"

    def __init__(self, message: str = "The gateway cannot reach its queue (Redis).") -> None:
        super().__init__(message, retry_after_s=2)


NO_SPACE = "No space left on device"
"""End of Redis's error where its disk is full, whichever of its files it wanted to write."""


class QueueFaulty(QueueUnavailable):
    """Redis refuses what it is asked: a fault that the operator must mend."""

    code = "queue_refused"

    def __init__(self, fault: str = "") -> None:
        if NO_SPACE in fault:
            super().__init__("The gateway's queue (Redis) has no space left on its disk.")
        else:
            super().__init__("The gateway's queue (Redis) refuses its commands; the operator's log and /ready say why.")


class KeyChanged(Overloaded):
    """The key was changed, and this process has not heard of it.

    Attributes:
        revision: that it has at least.
    """

    code = "key_changed"

    def __init__(self, revision: int) -> None:
        super().__init__("This API key was changed just now.", retry_after_s=1)
        self.revision = revision


class Admitted(msgspec.Struct):
    """A request that was admitted: the candidate that has its first attempt, and the state of its key's limits."""

    candidate: int
    remaining: int
    reset_s: float
    remaining_tokens: int = 0
    tokens_reset_s: float = 0.0


async def admit(
    redis: Redis,
    principal: Principal,
    draft: JobDraft,
    *,
    candidates: Sequence[Candidate],
    options: PlacementOptions,
) -> Admitted:
    """Admit a request and enqueue its first attempt, or change nothing.

    Args:
        redis: where limits, budgets and queues are.
        principal: who asks.
        draft: the first attempt.
        candidates: where it may go, by rank.
        options: budgets and priority.

    Raises:
        Unauthenticated: the key has been revoked.
        KeyChanged: it was changed, and the principal is of before that.
        RateLimited: the key's requests or tokens (`TokensRateLimited`) of a minute are used up, or too many bytes of
            its large bodies wait.
        BudgetSpent: what has room would cost more than what is left of a budget.
        MoreNeeded: candidates were left out, and those that are here do not do.
        Overloaded: every queue is full, of jobs or of their bytes, or Redis does not answer within `ADMIT_TIMEOUT_S`,
            nor takes a large body within `BODY_TIMEOUT_S` (`QueueUnavailable`).
    """
    owner = owner_of(principal.key_id)
    keys = [rate_key(owner), revoked_key(owner), open_requests(draft.api_id), revision_key(owner), API_SET]
    known = "" if principal.revision is None else principal.revision
    record = msgspec.json.encode(UsageRecord.opened(draft))
    arguments: list[str | bytes | int] = [principal.rpm_limit, record, known, mortal(draft.api_id)]
    if draft.tokens_per_minute:
        keys.append(tokens_key(owner))
        arguments += (draft.tokens_per_minute, draft.reserved_tokens)
    now = asyncio.get_running_loop().time
    try:
        async with asyncio.timeout(ADMIT_TIMEOUT_S) as bound:
            answer = await place(
                redis,
                scripts.ADMIT,
                draft,
                candidates,
                options=options,
                keys=keys,
                arguments=arguments,
                before_body=lambda: bound.reschedule(now() + BODY_TIMEOUT_S),
            )
    # Before UNREACHABLE, which has it too: this is an answer.
    except ResponseError as error:
        raise QueueFaulty(str(error)) from None
    except UNREACHABLE:
        raise QueueUnavailable from None
    if answer[0] == b"ok":
        admitted = Admitted(candidate=answer[1] - 1, remaining=answer[2], reset_s=answer[3] / 1e6)  # Lua counts from 1
        if len(answer) > 4:
            admitted.remaining_tokens, admitted.tokens_reset_s = answer[4], answer[5] / 1e6
        return admitted
    raise _denied(answer, principal, candidates)


async def check_rate(redis: Redis, principal: Principal) -> None:
    """Check that a request would not be refused for its key's limit; admission decides.

    Raises:
        RateLimited: the requests of this minute are used up.
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    rpm = principal.rpm_limit
    if not rpm:
        return
    pipeline = redis.pipeline(transaction=False)
    pipeline.time()
    # The one that must be a minute old.
    pipeline.zrevrange(rate_key(owner_of(principal.key_id)), rpm - 1, rpm - 1, withscores=True)
    (seconds, microseconds), found = await pipeline.execute()
    if found and (left_us := int(found[0][1]) + MINUTE_US - seconds * 1_000_000 - microseconds) > 0:
        raise _limited([b"limited", left_us], principal)


def _denied(answer: Sequence[Any], principal: Principal, candidates: Sequence[Candidate]) -> GatewayError:
    """Return the error for what `admit.lua` says of a request that it did not admit."""
    if answer[0] in {b"limited", b"tokens"}:
        return _limited(answer, principal)
    if answer[0] in {b"revoked", b"changed"}:
        return KeyChanged(answer[1]) if answer[1:] else Unauthenticated("This API key has been revoked.")
    if answer[0] == b"key bytes":
        return RateLimited(
            "The large requests of this key that wait have too many bytes together (half of CLAW_MAX_WAITING_MIB).",
            code="too_many_bytes_waiting",
            retry_after_s=BYTES_RETRY_S,
        )
    if answer[0] == b"bytes":
        return Overloaded(
            "The large requests that wait have too many bytes together already (CLAW_MAX_WAITING_MIB).",
            code="queue_bytes_full",
            retry_after_s=BYTES_RETRY_S,
        )
    if answer[0] != b"full":
        return _spent(answer[0])
    # Room for one more is there when the next attempt begins.
    retry_after_s = min(candidate.service_ms / max(1, candidate.slots) for candidate in candidates) / 1000
    return Overloaded("Too many requests are waiting already.", code="queue_full", retry_after_s=retry_after_s)


def _limited(answer: Sequence[Any], principal: Principal) -> RateLimited:
    """Return the error for a minute of a key that is used up: its requests or its tokens."""
    if answer[0] == b"limited":
        return RateLimited(
            f"Rate limit reached: {principal.rpm_limit} requests per minute for this key.",
            retry_after_s=answer[1] / 1e6,
        )
    retry_us, remaining, reset_us, requests, requests_reset_us = answer[1:]
    return TokensRateLimited(
        principal.tokens_per_minute,
        retry_after_s=retry_us / 1e6,
        remaining=remaining,
        reset_s=reset_us / 1e6,
        requests=(requests, requests_reset_us / 1e6),
    )


def _spent(answer: bytes) -> BudgetSpent:
    """Return the error for a budget that does not cover a request: the key's or the gateway's, for good or for now."""
    whose = "this key's" if answer.startswith(b"key") else "the gateway's"
    if answer.endswith(b"held"):
        return BudgetSpent(
            f"What {whose} monthly budget for paid models has left is reserved for requests under way. Try again soon.",
            retry_after_s=BUDGET_HELD_RETRY_S,
        )
    return BudgetSpent(f"What is left of {whose} monthly budget for paid models does not cover this request.")
