"""The filter of the usage log as it stands in the query string, and the steps of its chart."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple, get_args
from uuid import UUID

from api.endpoints.manage.usage import ERASED_KEY_ID, INTERNAL_KEY_ID
from api.http.times import in_utc, moment_of
from shared.errors import InvalidRequest
from shared.postgres.erasure import NOBODY
from shared.postgres.ui.usage import Cursor, Outcome, UsageFilter
from shared.types import TIERS

if TYPE_CHECKING:
    from collections.abc import Mapping


class Span(NamedTuple):
    """A span of time up to now, and the steps that its chart has."""

    name: str
    label: str
    length: timedelta
    step: timedelta


SPANS: Final = (
    Span("1h", "The last hour", timedelta(hours=1), timedelta(minutes=1)),
    Span("24h", "The last 24 hours", timedelta(hours=24), timedelta(minutes=30)),
    Span("7d", "The last 7 days", timedelta(days=7), timedelta(hours=6)),
    Span("30d", "The last 30 days", timedelta(days=30), timedelta(days=1)),
    Span("90d", "The last 90 days", timedelta(days=90), timedelta(days=3)),
    Span("400d", "All that is kept", timedelta(days=400), timedelta(days=8)),
)
DEFAULT_SPAN: Final = "24h"
OWN_SPAN: Final = "own"
"""The name of a span with a beginning and an end of its own."""
_STEPS: Final = tuple(timedelta(minutes=each) for each in (1, 5, 30, 360, 1440, 11520))
_MOST_STEPS: Final = 100
_LONGEST: Final = SPANS[-1].length
OUTCOMES: Final = (("", "Any"), ("ok", "Answered"), ("failed", "Failed"), ("cancelled", "Cancelled"))
MEASURES: Final = (("requests", "Requests"), ("tokens", "Tokens"), ("cost", "Cost"))
FIELDS: Final = ("span", "from", "to", "key", "model", "tier", "outcome", "by")


class Filters(NamedTuple):
    """The filters of the query string; the span of its own ends at `until`, all others now."""

    span: Span
    key: str
    model: str
    tier: str
    outcome: str
    by: str
    until: datetime | None = None

    def query(self, **others: str | None) -> dict[str, str | None]:
        """Return it as a query string has it, without what is the default, with some fields changed."""
        found: dict[str, str | None] = {
            "span": None if self.span.name == DEFAULT_SPAN else self.span.name,
            "from": None if self.until is None else _text(self.until - self.span.length),
            "to": None if self.until is None else _text(self.until),
            "key": self.key, "model": self.model, "tier": self.tier, "outcome": self.outcome,
            "by": None if self.by == MEASURES[0][0] else self.by,
        }  # fmt: skip
        return found | others

    @property
    def is_narrow(self) -> bool:
        """Return whether anything but the time is filtered."""
        return any((self.key, self.model, self.tier, self.outcome))

    def times(self, now: datetime) -> list[datetime]:
        """Return when each step of the chart begins; the last one is under way where the span ends now."""
        step_s = self.span.step.total_seconds()
        if self.until is not None:
            count = math.ceil(self.span.length / self.span.step)
            return [self.until - self.span.length + self.span.step * number for number in range(count)]
        last = datetime.fromtimestamp(now.timestamp() // step_s * step_s, UTC)
        count = round(self.span.length / self.span.step)
        return [last - self.span.step * back for back in range(count - 1, -1, -1)]

    def wanted(self, now: datetime) -> UsageFilter:
        """Return which requests are meant.

        Raises:
            InvalidRequest: the key is none.
        """
        key_id, is_internal = None, self.key == INTERNAL_KEY_ID
        if self.key == ERASED_KEY_ID:
            key_id = NOBODY
        elif self.key and not is_internal:
            try:
                key_id = UUID(self.key)
            except ValueError:
                raise InvalidRequest("key must be the id of a key.", param="key") from None
        return UsageFilter(
            since=self.times(now)[0],
            until=self.until or now,
            key_id=key_id,
            is_internal=is_internal,
            model=self.model or None,
            tier=self.tier or None,
            outcome=self.outcome or None,  # type: ignore[arg-type]  # checked below
        )


def read_filters(arguments: Mapping[str, str]) -> Filters:
    """Read the query string.

    Raises:
        InvalidRequest: a field has a value that it cannot have; the text names both.
    """
    given = {name: arguments.get(name, "").strip() for name in FIELDS}
    spans, until = {span.name: span for span in SPANS}, None
    if given["span"] == OWN_SPAN:
        spans[OWN_SPAN], until = _own_span(given["from"], given["to"])
    _check("span", given["span"], spans)
    _check("tier", given["tier"], TIERS)
    _check("outcome", given["outcome"], get_args(Outcome))
    _check("by", given["by"], [name for name, _ in MEASURES])
    if "\x00" in given["model"]:
        raise InvalidRequest("model cannot have a NUL.", param="model")
    return Filters(
        spans[given["span"] or DEFAULT_SPAN],
        given["key"],
        given["model"],
        given["tier"],
        given["outcome"],
        given["by"] or MEASURES[0][0],
        until,
    )


def _own_span(begin: str, end: str) -> tuple[Span, datetime]:
    """Return a span with a beginning and an end of its own, and that end.

    Raises:
        InvalidRequest: they are none, or too far apart.
    """
    now = datetime.now(UTC)
    try:
        until = _moment(end) if end else now
        since = _moment(begin) if begin else until - timedelta(days=1)
    except (ValueError, OverflowError):  # a day before the year 1
        raise InvalidRequest("A time is written as 2026-01-31T12:00, in UTC where it names no zone.") from None
    length = until - since
    if not timedelta() < length <= _LONGEST:
        raise InvalidRequest(f"From must be before to, by at most {_LONGEST.days} days.", param="from")
    step = next((each for each in _STEPS if length / each <= _MOST_STEPS), _STEPS[-1])
    return Span(OWN_SPAN, "From … to …", length, step), until


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return in_utc(found if found.tzinfo else found.replace(tzinfo=UTC)).replace(second=0, microsecond=0)


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%MZ}"


def read_cursor(text: str) -> Cursor | None:
    """Read where a page begins.

    Raises:
        InvalidRequest: it is none.
    """
    if not text:
        return None
    at, _, request_id = text.partition(",")
    try:
        return Cursor(moment_of(at), UUID(request_id))
    except ValueError:
        raise InvalidRequest("before must be the address of an older page.", param="before") from None


def _check(name: str, given: str, known: object) -> None:
    if given and given not in known:  # type: ignore[operator]  # a collection of texts
        raise InvalidRequest(f"{name} cannot be {given[:100]!r}.", param=name)
