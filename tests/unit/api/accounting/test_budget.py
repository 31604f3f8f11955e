"""The months that budgets are for."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from api.accounting.budget import Month, month_at
from shared.redis.names import budget_key, budget_key_at


@pytest.mark.parametrize(
    ("moment", "month"),
    [
        (datetime(2026, 11, 23, 6, tzinfo=UTC), Month(date(2026, 11, 1), date(2026, 12, 1))),
        (datetime(2026, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), Month(date(2026, 12, 1), date(2027, 1, 1))),
        (datetime(2028, 2, 29, tzinfo=UTC), Month(date(2028, 2, 1), date(2028, 3, 1))),
        (datetime(2027, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=1))), Month(date(2026, 12, 1), date(2027, 1, 1))),
    ],
)
def test_a_month_is_one_of_utc(moment: datetime, month: Month) -> None:
    """Also at the end of a year, in a leap year and seen from another time zone."""
    assert month_at(moment) == month
    assert budget_key(month.name) == budget_key_at(int(moment.timestamp() * 1000))
    assert month.resets_at == f"{month.end:%Y-%m-%d}T00:00:00Z"


def test_a_month_has_its_first_moment_and_not_that_of_the_next() -> None:
    """To the millisecond; a time that makes no sense is in no month."""
    month = month_at(datetime(2026, 11, 23, tzinfo=UTC))
    start = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp() * 1000)
    end = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp() * 1000)
    assert [month.has(time_ms) for time_ms in (start - 1, start, end - 1, end, 1 << 62)] == [
        False,
        True,
        True,
        False,
        False,
    ]
