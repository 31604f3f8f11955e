"""Rates at which jobs come into each queue."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

SHORTEST_S: Final = 0.5
"""Between two looks that say something of a rate."""
LONGEST_S: Final = 60.0
"""Of how long a time the looks are kept: as long as what goes out is counted. Jobs end in bursts, and of two looks a
second apart most would say that as much came as went."""


class ArrivalRates:
    """Works out what comes into queues from what goes out and how they grow between two looks.

    Args:
        clock: says what time it is, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looks: dict[str, deque[tuple[float, int]]] = {}

    def per_minute(self, queue: str, jobs: int, out_per_minute: float) -> float | None:
        """Return how many jobs a minute come; None at the first look, and where the last one is long ago."""
        now = self._clock()
        looks = self._looks.setdefault(queue, deque())
        while looks and now - looks[0][0] > LONGEST_S:
            looks.popleft()
        if not looks or now - looks[-1][0] >= SHORTEST_S:
            looks.append((now, jobs))
        seen_at, seen = looks[0]
        if now - seen_at < SHORTEST_S:
            return None
        # What went out is of the last minute, and the looks are of less: together they may be below 0.
        return round(max(0.0, out_per_minute + 60 * (jobs - seen) / (now - seen_at)), 1)
