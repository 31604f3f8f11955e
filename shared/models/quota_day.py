"""The day that Google counts requests by: it begins at midnight US Pacific, summer time included.

Source: ai.google.dev, "Rate limits" (requests per day reset at midnight Pacific time).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo


def quota_day(now: datetime) -> str:
    """Return the day of a moment, as in `2026-11-23`."""
    return now.astimezone(_pacific()).date().isoformat()


def next_reset(now: datetime) -> datetime:
    """Return the end of a moment's day, in UTC: 23, 24 or 25 hours after it began."""
    tomorrow = now.astimezone(_pacific()).date() + timedelta(days=1)
    return datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=_pacific()).astimezone(UTC)


def ms_until_reset(now: datetime) -> int:
    """Return the milliseconds from a moment to the end of its day, at least 1."""
    return max(1, int((next_reset(now) - now).total_seconds() * 1000))


@cache
def _pacific() -> ZoneInfo:
    return ZoneInfo("America/Los_Angeles")
