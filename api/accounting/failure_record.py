"""The usage-log record of a request that its api process ends: of what arrived here."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from shared.usage import NOTHING_SERVED, Counted, Times, UsageRecord, completed

if TYPE_CHECKING:
    from api.relay.incoming import IncomingStream
    from shared.errors import GatewayError
    from shared.models.catalogue import Catalogue
    from shared.types import Usage


def ended(
    record: UsageRecord,
    attempt: int,
    stream: IncomingStream,
    error: GatewayError,
    served: Usage,
    *,
    began_at: float,
    catalogue: Catalogue,
) -> UsageRecord:
    """Return the record of a request that ended with an error. Tokens are estimated, and priced as a paid API would.

    Args:
        record: as it was opened.
        attempt: the number of the last one.
        stream: what has come of it.
        error: how it ended.
        served: about how long the prompt is, and how many tokens of the answer were delivered.
        began_at: when the request came, by the monotonic clock.
        catalogue: the prices.
    """
    opened = msgspec.structs.replace(
        record,
        tier=stream.target.tier,
        model=stream.target.model,
        attempts=attempt,
        cost_usd=record.cost_usd + error.cost_usd,
    )
    counted, known = NOTHING_SERVED, _known(stream)
    if known is not None:
        # Its worker says what is billed every 256 tokens only: more may have been delivered since.
        answered = max(known.completion_tokens, served.completion_tokens)
        counted = Counted(msgspec.structs.replace(known, completion_tokens=answered), "estimated")
    elif stream.committed:
        counted = Counted(served, "estimated")
    times = Times(
        wait_ms=_ms_between(began_at, stream.started_at),
        first_token_ms=_ms_between(began_at, stream.first_at),
        duration_ms=int((time.monotonic() - began_at) * 1000),
    )
    return completed(opened, counted, error, times, catalogue)


def lost_usd(stream: IncomingStream, error: GatewayError, catalogue: Catalogue) -> float:
    """Return what a paid upstream bills for an attempt that failed before its first content, in US dollars.

    Its worker says that with the error; of a worker that was lost what it had said by then.
    """
    known = _known(stream)
    return error.cost_usd + (0.0 if known is None else catalogue.cost_usd(stream.target.model, known))


def _known(stream: IncomingStream) -> Usage | None:
    """Return what a paid upstream is known to bill for an attempt of which its worker did not say how it ended."""
    return None if stream.has_reported else stream.usage


def _ms_between(began_at: float, moment: float | None) -> int | None:
    return None if moment is None else int((moment - began_at) * 1000)
