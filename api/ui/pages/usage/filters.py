"""The filter of the usage log as it stands in the query string, and the steps of its chart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple, get_args
from uuid import UUID

from api.endpoints.manage.usage import ERASED_KEY_ID, INTERNAL_KEY_ID
from api.http.times import moment_of
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
OUTCOMES: Final = (("", "Any"), ("ok", "Answered"), ("failed", "Failed"), ("cancelled", "Cancelled"))
MEASURES: Final = (("requests", "Requests"), ("tokens", "Tokens"), ("cost", "Cost"))
FIELDS: Final = ("span", "key", "model", "tier", "outcome", "by")


class Filters(NamedTuple):
    """What the query string says."""

    span: Span
    key: str
    model: str
    tier: str
    outcome: str
    by: str

    def query(self, **others: str | None) -> dict[str, str | None]:
        """Return it as a query string has it, without what is the default, with some fields changed."""
        found: dict[str, str | None] = {
            "span": None if self.span.name == DEFAULT_SPAN else self.span.name,
            "key": self.key, "model": self.model, "tier": self.tier, "outcome": self.outcome,
            "by": None if self.by == MEASURES[0][0] else self.by,
        }  # fmt: skip
        return found | others

    @property
    def is_narrow(self) -> bool:
        """Return whether anything but the time is filtered."""
        return any((self.key, self.model, self.tier, self.outcome))

    def times(self, now: datetime) -> list[datetime]:
        """Return when each step of the chart begins; the last one is under way."""
        step_s = self.span.step.total_seconds()
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
            until=now,
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
    spans = {span.name: span for span in SPANS}
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
    )


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
