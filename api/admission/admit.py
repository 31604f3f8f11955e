"""One step in Redis that admits a request or refuses it: revocation, limit, budget, queue bounds, enqueueing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
from redis.exceptions import ResponseError

from shared.errors import BudgetSpent, Overloaded, RateLimited, Unauthenticated
from shared.queue.placement import place
from shared.redis import scripts
from shared.redis.client import UNREACHABLE
from shared.redis.names import open_requests, owner_of, rate_key, revoked_key
from shared.usage import UsageRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    from api.admission.auth import Principal
    from shared.queue.placement import Candidate, PlacementOptions
    from shared.types import JobDraft

BUDGET_HELD_RETRY_S = 5
BYTES_RETRY_S = 5
ADMIT_TIMEOUT_S = 1.8
"""For a free connection and the answer together: a frozen Redis means 503 within two seconds."""


class QueueUnavailable(Overloaded):
    """Redis does not answer; whether it did what it was asked is not known."""

    code = "queue_unavailable"

    def __init__(self, message: str = "The gateway cannot reach its queue (Redis).") -> None:
        super().__init__(message, retry_after_s=2)


class QueueRefused(QueueUnavailable):
    """Redis refuses what it is asked: a fault that the operator must mend."""

    code = "queue_refused"

    def __init__(self) -> None:
        super().__init__("The gateway's queue (Redis) refuses its commands; the operator's log and /ready say why.")


class Admitted(msgspec.Struct, frozen=True):
    """A request that was admitted: the candidate that has its first attempt, and the state of its key's limit."""

    candidate: int
    remaining: int
    reset_s: float


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
        RateLimited: the key's minute is used up, or too many bytes of its large bodies wait.
        BudgetSpent: what has room would cost more than what is left of a budget.
        MoreNeeded: candidates were left out, and those that are here do not do.
        Overloaded: every queue is full, of jobs or of their bytes, or Redis does not answer within `ADMIT_TIMEOUT_S`
            (`QueueUnavailable`).
    """
    owner = owner_of(principal.key_id)
    try:
        async with asyncio.timeout(ADMIT_TIMEOUT_S):
            answer = await place(
                redis,
                scripts.ADMIT,
                draft,
                candidates,
                options=options,
                keys=(rate_key(owner), revoked_key(owner), open_requests(draft.api_id)),
                arguments=(principal.rpm_limit, msgspec.json.encode(UsageRecord.opened(draft))),
            )
    except ResponseError:
        raise QueueRefused from None
    except UNREACHABLE:
        raise QueueUnavailable from None
    if answer[0] == b"ok":
        return Admitted(candidate=answer[1] - 1, remaining=answer[2], reset_s=answer[3] / 1e6)  # Lua counts from 1
    if answer[0] == b"limited":
        raise RateLimited(
            f"Rate limit reached: {principal.rpm_limit} requests per minute for this key.",
            retry_after_s=answer[1] / 1e6,
        )
    if answer[0] == b"revoked":
        raise Unauthenticated("This API key has been revoked.")
    if answer[0] == b"key bytes":
        raise RateLimited(
            "The large requests of this key that wait have too many bytes together (half of CLAW_MAX_WAITING_MIB).",
            code="too_many_bytes_waiting",
            retry_after_s=BYTES_RETRY_S,
        )
    if answer[0] == b"bytes":
        raise Overloaded(
            "The large requests that wait have too many bytes together already (CLAW_MAX_WAITING_MIB).",
            code="queue_bytes_full",
            retry_after_s=BYTES_RETRY_S,
        )
    if answer[0] != b"full":
        raise _spent(answer[0])
    # Room for one more is there when the next attempt begins.
    retry_after_s = min(candidate.service_ms / max(1, candidate.slots) for candidate in candidates) / 1000
    raise Overloaded("Too many requests are waiting already.", code="queue_full", retry_after_s=retry_after_s)


def _spent(answer: bytes) -> BudgetSpent:
    """Return the error for a budget that does not cover a request: the key's or the gateway's, for good or for now."""
    whose = "this key's" if answer.startswith(b"key") else "the gateway's"
    if answer.endswith(b"held"):
        return BudgetSpent(
            f"What {whose} monthly budget for paid models has left is reserved for requests under way. Try again soon.",
            retry_after_s=BUDGET_HELD_RETRY_S,
        )
    return BudgetSpent(f"What is left of {whose} monthly budget for paid models does not cover this request.")
