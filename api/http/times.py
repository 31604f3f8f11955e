"""Times as callers write them."""

from __future__ import annotations

from datetime import UTC, datetime


def moment_of(text: str) -> datetime:
    """Return a time of ISO 8601 with its zone, in UTC, as PostgreSQL stores it.

    Raises:
        ValueError: it is none, or in UTC before the year 1 or after the year 9999.
    """
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(text)
    return in_utc(found)


def in_utc(moment: datetime) -> datetime:
    """Return a time in UTC.

    Raises:
        ValueError: there it is before the year 1 or after the year 9999.
    """
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(str(moment)) from None
