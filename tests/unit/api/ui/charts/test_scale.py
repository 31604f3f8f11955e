"""Axes have round numbers and round times, and few of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.ui.charts.scale import HIGHEST, LEAST, MOST_TIMES, ticks, time_ticks
from api.ui.charts.units import COUNT, SECONDS, USD, Unit, full_usd, short_count, short_seconds, short_usd


@given(highest=st.floats(min_value=0, max_value=HIGHEST), is_whole=st.booleans())
def test_ticks_reach_the_highest_value_and_are_few(highest: float, is_whole: bool) -> None:  # noqa: FBT001 -- made by hypothesis
    """From 0, in even steps, at the most five; a chart is at least half full."""
    found = ticks(highest, is_whole=is_whole)
    assert found[0] == 0
    assert 2 <= len(found) <= 5
    assert found[-1] >= highest * (1 - 1e-6)
    if highest > (4 if is_whole else LEAST):
        assert found[-1] <= 2 * highest
    if is_whole:
        assert all(tick == int(tick) for tick in found)


@given(
    highest=st.builds(lambda digits, power: digits * 10.0**power, st.integers(100, 999), st.integers(-8, 12)),
    unit=st.sampled_from([COUNT, USD, SECONDS]),
)
def test_no_two_ticks_are_written_alike(highest: float, unit: Unit) -> None:
    """Or the axis would say one thing twice."""
    written = [unit.short(tick) for tick in ticks(highest, is_whole=unit.is_whole)]
    assert len(set(written)) == len(written), written


@given(
    start=st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2099, 1, 1)),  # noqa: DTZ001 -- given its zone below
    step=st.sampled_from([timedelta(minutes=1), timedelta(minutes=30), timedelta(hours=3), timedelta(days=1)]),
    count=st.integers(1, 100),
)
def test_times_are_within_what_is_drawn_and_few(start: datetime, step: timedelta, count: int) -> None:
    """On round times of UTC."""
    times = [start.replace(tzinfo=UTC) + number * step for number in range(count)]
    found = time_ticks(times, step)
    assert len(found) <= MOST_TIMES + 1
    assert all(times[0] <= moment < times[-1] + step for moment in found)
    assert len({later - earlier for earlier, later in pairwise(found)}) <= 1


@pytest.mark.parametrize(
    ("written", "value"),
    [("0", 0), ("950", 950), ("1.23k", 1234), ("1M", 999_999), ("12.3k", 12_345), ("0.5", 0.5), ("3.4B", 3.4e9)],
)
def test_counts_are_short(written: str, value: float) -> None:
    """Three digits at the most."""
    assert short_count(value) == written


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("$0", 0),
        ("0.25¢", 0.0025),
        ("0.001¢", 0.00001),
        ("$0.50", 0.5),
        ("$2.50", 2.5),
        ("$25", 25),
        ("$1.2k", 1_200),
    ],
)
def test_dollars_are_short(written: str, value: float) -> None:
    """Less than a cent is said in cents."""
    assert short_usd(value) == written


def test_a_cost_is_never_written_as_nothing() -> None:
    """However small it is."""
    assert full_usd(0.0000001) == "$0.0001"
    assert full_usd(0) == "$0.00"


@pytest.mark.parametrize(
    ("written", "value"),
    [("0 s", 0), ("350 ms", 0.35), ("1.5 s", 1.5), ("2 min", 120), ("1.5 h", 5400), ("1 s", 0.9999)],
)
def test_durations_are_short(written: str, value: float) -> None:
    """In the unit that fits."""
    assert short_seconds(value) == written
