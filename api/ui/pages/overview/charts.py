"""The overview's figures as charts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from api.ui.charts.ranking import Bar, ranking
from api.ui.charts.timeline import Series, Timeline, bars
from api.ui.charts.units import COUNT, SECONDS, USD

if TYPE_CHECKING:
    from markupsafe import Markup

    from api.ui.pages.overview.figures import Figures
    from shared.types import Tier

LABELS: Final[dict[Tier, str]] = {"local": "Local", "gemini": "Gemini", "paid": "Paid"}


def requests_chart(figures: Figures) -> Markup:
    """Draw requests by the tier that served them, and those that nobody did."""
    found = figures.requests
    series = [Series(label, tier, found[tier]) for tier, label in LABELS.items()]
    if any(found["cancelled"]):
        series.append(Series("Cancelled", "other", found["cancelled"]))
    series.append(Series("Failed", "error", found["failed"]))
    return bars(_timeline(figures, "requests", "Requests", series=series, unit=COUNT))


def tokens_chart(figures: Figures) -> Markup:
    """Draw tokens, of prompts and answers, by tier."""
    series = [Series(label, tier, figures.tokens[tier]) for tier, label in LABELS.items()]
    return bars(_timeline(figures, "tokens", "Tokens", series=series, unit=COUNT))


def money_chart(figures: Figures) -> Markup:
    """Draw what was paid and what was saved: one on the other, they are what paying for all would have come to."""
    series = [Series("Paid", "paid", figures.paid), Series("Saved", "local", figures.saved)]
    nothing = "Nothing was paid or saved in this time."
    return bars(_timeline(figures, "money", "Money", series=series, unit=USD, nothing=nothing))


def slowest_chart(figures: Figures) -> Markup:
    """Draw which models let one wait the longest for a first token."""
    rows = [
        Bar(row["model"] or "unknown", (row["most_ms"] or 0) / 1000, row["tier"], _note(row)) for row in figures.slowest
    ]
    return ranking("Slowest models", ("Model", "First token"), rows, SECONDS)


def _note(row: Any) -> str:
    """Return what else is said of a model's speed."""
    parts = [f"half within {SECONDS.short(row['half_ms'] / 1000)}"] if row["half_ms"] is not None else []
    if row["tokens_per_s"]:
        parts.append(f"{COUNT.short(row['tokens_per_s'])} tokens/s")
    return ", ".join(parts)


def _timeline(figures: Figures, name: str, title: str, **fields: Any) -> Timeline:
    nothing = fields.pop("nothing", "No requests in this time.")
    return Timeline(
        name=f"chart-{name}", title=title, times=figures.times, step=figures.span.step, nothing=nothing, **fields
    )
