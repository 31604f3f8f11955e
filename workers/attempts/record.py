"""The usage-log record of a request that its worker ends."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from shared.errors import CancelledOnRequest
from shared.ids import job_id
from shared.usage import ORPHANED, Closing, ClosingMode, Counted, Times, UsageRecord, completed

if TYPE_CHECKING:
    from shared.dialects.stored.pending import ResponseEnd
    from shared.errors import GatewayError
    from shared.models.catalogue import Catalogue
    from shared.openai.sessions.turn_end import TurnEnd
    from shared.types import Job


def now_ms() -> int:
    """Return the time, in milliseconds since 1970."""
    return int(time.time() * 1000)


def times_of(job: Job, started_ms: int, first_ms: int | None) -> Times:
    """Return how long an attempt took that ends now; clocks of two machines may differ, so nothing is below zero.

    Args:
        job: what was done.
        started_ms: when its upstream was asked, in milliseconds since 1970.
        first_ms: when its first content came, None where none did.
    """
    return Times(
        wait_ms=max(0, started_ms - job.admitted_ms),
        first_token_ms=None if first_ms is None else max(0, first_ms - job.admitted_ms),
        duration_ms=max(0, now_ms() - job.admitted_ms),
    )


def record_of(
    job: Job, counted: Counted, error: GatewayError | None, times: Times, catalogue: Catalogue
) -> UsageRecord:
    """Return the record of a request whose last attempt was this job; the arguments are those of `completed`."""
    # Its job went into the queue before that, and its api process knows no more of what it used.
    noted = job.noted("cancelled", error.by) if isinstance(error, CancelledOnRequest) else job
    if error is not None and error.code == ORPHANED:
        noted = job.noted("orphaned", "closed by its worker: its api process was gone")
    opened = msgspec.structs.replace(UsageRecord.opened(noted), model=job.model, tier=job.tier, attempts=job.attempt)
    return completed(opened, counted, error, times, catalogue)


def closing_of(job: Job, queue: str, record: UsageRecord | None, turn: TurnEnd | ResponseEnd | None) -> Closing:
    """Return the end of an attempt.

    Args:
        job: what was done.
        queue: where it was claimed.
        record: of its request; without one that stays open.
        turn: how the turn of its session ended, or the response that it is stored as, where it has one.
    """
    name = job_id(job.request_id, job.attempt)
    if record is None:
        return Closing(api_id=job.api_id, request_id=job.request_id, job_id=name, queue=queue)
    return Closing.of(record, ClosingMode.HELD, api_id=job.api_id, job_id=name, queue=queue, turn=turn)
