"""The filter of the usage log."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.ui.pages.usage.filters import OWN_SPAN, SPANS, read_cursor, read_filters
from shared.errors import InvalidRequest

MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 -- bounds


@pytest.mark.parametrize("span", [span.name for span in SPANS])
@given(now=MOMENTS)
def test_the_steps_of_a_chart_reach_from_the_filters_beginning_to_now(span: str, now: datetime) -> None:
    """Whatever is in the table is in the chart."""
    filters = read_filters({"span": span})
    times = filters.times(now)
    assert times[0] == filters.wanted(now).since
    assert times[-1] <= now < times[-1] + filters.span.step
    assert {later - earlier for earlier, later in itertools.pairwise(times)} == {filters.span.step}
    assert 20 <= len(times) <= 60


@given(st.dictionaries(st.sampled_from(["span", "key", "model", "tier", "outcome", "by"]), st.text()))
def test_whatever_a_query_string_says_is_read_or_refused(arguments: dict[str, str]) -> None:
    """Never a fault of ours."""
    param = None
    try:
        filters = read_filters(arguments)
        filters.wanted(datetime.now(UTC))
        kept = {name: value for name, value in filters.query().items() if value}
        assert read_filters(kept) == filters
    except InvalidRequest as error:
        param = error.param
    assert param is None or param in arguments


@given(st.text())
def test_a_cursor_is_read_or_refused(text: str) -> None:
    """Likewise."""
    param = "before"
    try:
        read_cursor(text)
    except InvalidRequest as error:
        param = error.param or ""
    assert param == "before"


@pytest.mark.parametrize(
    "times",
    [
        {"from": "9999-12-31T23:59:59-14:00"},
        {"to": "9999-12-31T23:59:59-14:00"},
        {"to": "0001-01-01T00:00+14:00"},
        {"to": "0001-01-01T12:00"},  # what it would begin with is a day before
    ],
)
def test_times_that_leave_the_calendar_are_refused(times: dict[str, str]) -> None:
    """As are all that cannot be read."""
    with pytest.raises(InvalidRequest, match="A time is written as"):
        read_filters({"span": OWN_SPAN, **times})
