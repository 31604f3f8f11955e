"""The overview's figures of a span of time, from the usage log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec

from api.ui.pages.overview.savings import Savings, usage_of
from shared.postgres.ui import overview_queries as queries
from shared.types import TIERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from api.ui.pages.overview.spans import Span
    from shared.postgres.database import Database
    from shared.settings import Settings

MOST_FAILURES: Final = 8
MOST_SLOW: Final = 8
CANCELLED: Final = "cancelled"
FAILED: Final = "failed"
OUTCOMES: Final = (*TIERS, CANCELLED, FAILED)
"""The kinds of requests: the tier that served them, else how they ended."""


class Figures(msgspec.Struct, kw_only=True):
    """Counts and sums of a span, by steps and in all. Sums of money are US dollars."""

    span: Span
    times: list[datetime]
    requests: dict[str, list[float]]
    tokens: dict[str, list[float]]
    paid: list[float]
    saved: list[float]
    prompt_tokens: int = 0
    completion_tokens: int = 0
    failures: Sequence[Mapping[str, Any]] = ()
    slowest: Sequence[Mapping[str, Any]] = ()
    equivalent: str | None = None
    equivalent_usd: tuple[float, float] | None = None

    def total(self, *outcomes: str) -> int:
        """Return how many requests had one of these outcomes, or any."""
        return int(sum(sum(self.requests[name]) for name in outcomes or OUTCOMES))

    @property
    def free_share(self) -> float | None:
        """Return the part of what was served that cost nothing; None where nothing was served."""
        served = self.total(*TIERS)
        return self.total("local", "gemini") / served if served else None

    @property
    def failed_share(self) -> float:
        """Return the part of all requests that failed."""
        return self.total(FAILED) / self.total() if self.total() else 0.0


async def read_figures(database: Database, settings: Settings, span: Span, now: datetime | None = None) -> Figures:
    """Read the figures of a span: three statements.

    Raises:
        DatabaseUnavailable: PostgreSQL cannot answer now.
    """
    times = span.steps(now or datetime.now(UTC))
    start, end = times[0], times[-1] + span.step
    # The end is not part of it. By the days PostgreSQL leaves the other partitions out.
    days = start.date(), (end - timedelta(microseconds=1)).date()
    rows = await database.fetch(queries.USAGE_BY_STEP, start, end, span.step.total_seconds(), *days)
    figures = summed(span, times, map(dict, rows), Savings(settings))
    figures.failures = [dict(row) for row in await database.fetch(queries.FAILURES, start, end, *days, MOST_FAILURES)]
    figures.slowest = [dict(row) for row in await database.fetch(queries.SLOWEST, start, end, *days, MOST_SLOW)]
    return figures


def summed(span: Span, times: list[datetime], rows: Iterable[Mapping[str, Any]], savings: Savings) -> Figures:
    """Return figures from the rows of `USAGE_BY_STEP`."""
    price = savings.equivalent_price
    figures = Figures(
        span=span,
        times=times,
        requests={name: [0.0] * len(times) for name in OUTCOMES},
        tokens={tier: [0.0] * len(times) for tier in TIERS},
        paid=[0.0] * len(times),
        saved=[0.0] * len(times),
        equivalent=savings.equivalent,
        equivalent_usd=None if price is None or price.prompt_usd is None else (price.prompt_usd, price.completion_usd),
    )
    for row in rows:
        if 0 <= row["step"] < len(times):
            _add(figures, row, savings)
    return figures


def _add(figures: Figures, row: Mapping[str, Any], savings: Savings) -> None:
    step, tier, outcome = row["step"], row["tier"], row["outcome"]
    is_served = outcome == "served" and tier in figures.tokens
    figures.requests[tier if is_served else CANCELLED if outcome == CANCELLED else FAILED][step] += row["requests"]
    if tier in figures.tokens:
        figures.tokens[tier][step] += row["prompt_tokens"] + row["completion_tokens"]
    figures.prompt_tokens += row["prompt_tokens"]
    figures.completion_tokens += row["completion_tokens"]
    figures.paid[step] += row["cost_usd"]
    if is_served and tier != "paid":
        usage = usage_of(row["requests"], row["prompt_tokens"], row["completion_tokens"], row["cached_tokens"])
        figures.saved[step] += savings.usd(row["endpoint"], row["model"], usage)
