"""The day that Google counts requests by."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from shared.models.quota_day import ms_until_reset, next_reset, quota_day


@pytest.mark.parametrize(
    ("now", "day", "reset"),
    [
        ("2026-01-15T07:59:59", "2026-01-14", "2026-01-15T08:00:00"),  # winter: eight hours behind
        ("2026-01-15T08:00:00", "2026-01-15", "2026-01-16T08:00:00"),
        ("2026-07-15T06:59:59", "2026-07-14", "2026-07-15T07:00:00"),  # summer: seven
        ("2026-07-15T07:00:00", "2026-07-15", "2026-07-16T07:00:00"),
        ("2026-03-08T08:00:00", "2026-03-08", "2026-03-09T07:00:00"),  # clocks go forward: 23 hours
        ("2026-11-01T07:00:00", "2026-11-01", "2026-11-02T08:00:00"),  # and back: 25
        ("2026-12-31T23:00:00", "2026-12-31", "2027-01-01T08:00:00"),
    ],
)
def test_a_day_begins_at_midnight_pacific_whatever_the_season(now: str, day: str, reset: str) -> None:
    """Also on the two days of the year that are not 24 hours long."""
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    assert quota_day(moment) == day
    assert next_reset(moment) == datetime.fromisoformat(reset).replace(tzinfo=UTC)
    assert ms_until_reset(moment) == (next_reset(moment) - moment).total_seconds() * 1000
