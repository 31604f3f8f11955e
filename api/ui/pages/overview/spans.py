"""The spans of time that the overview can show, and the steps that they are cut into."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Span(NamedTuple):
    """A span of time until now, and its steps.

    Args:
        name: in the address of the page.
        title: for people.
        step: how long each step is.
        number: how many there are.
    """

    name: str
    title: str
    step: timedelta
    number: int

    def steps(self, now: datetime) -> list[datetime]:
        """Return when each step begins, the last being the one that now is in; on whole steps of UTC."""
        last = _EPOCH + (now - _EPOCH) // self.step * self.step
        return [last - self.step * before for before in reversed(range(self.number))]


SPANS: Final = (
    Span("1h", "1 hour", timedelta(minutes=1), 60),
    Span("24h", "24 hours", timedelta(minutes=30), 48),
    Span("7d", "7 days", timedelta(hours=3), 56),
    Span("30d", "30 days", timedelta(days=1), 30),
)
DEFAULT: Final = SPANS[1]


def span_named(name: str | None) -> Span:
    """Return the span of this name, the default where there is none."""
    return next((span for span in SPANS if span.name == name), DEFAULT)
