"""The chart of the usage log: requests, tokens or cost by tier, over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api.ui.charts.timeline import Series, Style, Timeline, bars
from api.ui.charts.units import COUNT, USD

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime, timedelta

    import asyncpg
    from markupsafe import Markup

_KINDS: Final[tuple[tuple[Style, str], ...]] = (
    ("local", "Local"), ("gemini", "Gemini"), ("paid", "Paid"), ("other", "Nobody"), ("error", "Failed"),
)  # fmt: skip
_TITLES: Final = {"requests": "Requests", "tokens": "Tokens, in and out", "cost": "Cost at paid APIs"}
_COLUMNS: Final = {"requests": "requests", "tokens": "tokens", "cost": "cost_usd"}


def usage_chart(
    rows: Iterable[asyncpg.Record], by: str, times: Sequence[datetime], step: timedelta, name: str = "usage"
) -> Markup:
    """Draw sums by steps of time.

    Args:
        rows: of `UsageReport.steps`.
        by: what is measured: `requests`, `tokens` or `cost`.
        times: when each step begins.
        step: how long each is.
        name: of the chart in its page.
    """
    sums = {kind: [0.0] * len(times) for kind, _ in _KINDS}
    for row in rows:
        if 0 <= row["step"] < len(times):
            sums[row["kind"]][row["step"]] += float(row[_COLUMNS[by]])
    series = [Series(label, kind, sums[kind]) for kind, label in _KINDS if any(sums[kind])]
    return bars(
        Timeline(
            name=name,
            title=_TITLES[by],
            times=times,
            step=step,
            series=series or [Series("Local", "local", [0.0] * len(times))],
            unit=USD if by == "cost" else COUNT,
        )
    )
