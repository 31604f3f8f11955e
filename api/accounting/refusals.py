"""A limit on refusals: they have a window of their own, so that they are not free.

A refused request consumes nothing of its key's limits. But each costs us a row and some work, so a key may be refused
ten times as often as it may ask, and at least 60 times a minute; for the rest of that minute it gets 429 at once.
"""

from __future__ import annotations

import time
from typing import Final

from shared.errors import RateLimited

TIMES_RPM: Final = 10
LEAST: Final = 60
MINUTE_MS: Final = 60_000
MOST_OWNERS: Final = 10_000


def most_refusals(rpm_limit: int) -> int:
    """Return how often a key may be refused in a minute; 0 where it has no limit."""
    return max(LEAST, TIMES_RPM * rpm_limit) if rpm_limit else 0


def too_many_refusals() -> RateLimited:
    """Return the error for a key that was refused too often in this minute of the clock."""
    return RateLimited(
        "Too many requests of this key were refused in this minute. Mend what they ask for, then try again.",
        code="too_many_refusals",
        retry_after_s=60 - time.time() % 60,
    )


class Refusals:
    """The refusals of the current minute as this process knows them; Redis counts them for all processes."""

    def __init__(self) -> None:
        self._totals: dict[str, tuple[int, int]] = {}

    def counted(self, owner: str, minute: int, total: int) -> None:
        """Record how many refusals of an owner there were in a minute."""
        if len(self._totals) >= MOST_OWNERS:
            self._totals = {name: known for name, known in self._totals.items() if known[0] >= minute}
        self._totals[owner] = (minute, total)

    def is_over(self, owner: str, rpm_limit: int, now_ms: int) -> bool:
        """Return whether an owner was refused too often in the current minute."""
        minute, total = self._totals.get(owner, (0, 0))
        most = most_refusals(rpm_limit)
        return bool(most) and minute == now_ms // MINUTE_MS and total >= most
