"""The closing of a background response whose end no worker reports."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from shared.dialects.stored.unanswered import failed, response_end
from shared.models.catalogue import Catalogue
from shared.redis.names import BACKGROUND_API
from shared.types import Usage
from shared.usage import NOTHING_SERVED, Closing, ClosingMode, Counted, Times, UsageRecord, completed

if TYPE_CHECKING:
    from api.requests.background.records import BackgroundRequest, Progress
    from shared.errors import GatewayError


def closing_of(
    request: BackgroundRequest, progress: Progress, error: GatewayError, catalogue: Catalogue, kept: bytes | None
) -> Closing:
    """Return the closing of a response that ended with an error.

    Args:
        request: what was asked.
        progress: how far it came.
        error: how it ended.
        catalogue: the prices.
        kept: the response object as far as its worker had come.
    """
    draft, served = request.draft, progress.served or progress.target
    counted = NOTHING_SERVED
    if progress.served is not None and progress.served.usage is not None:
        known = progress.served.usage
        answered = max(known.completion_tokens, progress.tokens)
        counted = Counted(msgspec.structs.replace(known, completion_tokens=answered), "estimated")
    elif progress.events:
        counted = Counted(Usage(request.wanted.prompt_tokens, progress.tokens), "estimated")
    opened = msgspec.structs.replace(
        UsageRecord.opened(draft),
        tier=served.tier,
        model=served.model,
        attempts=progress.attempt,
        cost_usd=draft.earlier_cost_usd + error.cost_usd,
    )
    # The process that admitted it may have had another clock.
    duration_ms = max(0, int(time.time() * 1000) - draft.admitted_ms)
    # Nobody waited who could have measured the others.
    times = Times(wait_ms=None, first_token_ms=None, duration_ms=duration_ms)
    record = completed(opened, counted, error, times, catalogue)
    turn = None
    if draft.stored is not None:
        turn = response_end(draft, draft.stored, failed(draft, served.model, error, kept), has_end_event=False)
    job = progress.job_of(draft.request_id)
    return Closing.of(record, ClosingMode.OPEN, api_id=BACKGROUND_API, job_id=job, turn=turn)
