"""How many jobs come into each queue."""

from __future__ import annotations

import time
from typing import Final

SHORTEST_S: Final = 0.5
"""Between two looks that say something of a rate."""


class Flow:
    """Works out what comes into queues from what goes out and how they grow between two looks."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, int]] = {}

    def into(self, queue: str, jobs: int, out_per_minute: float) -> float | None:
        """Return how many jobs a minute come; None at the first look."""
        now = time.monotonic()
        seen_at, seen = self._last.setdefault(queue, (now, jobs))
        if now - seen_at < SHORTEST_S:
            return None
        self._last[queue] = now, jobs
        return round(max(0.0, out_per_minute + 60 * (jobs - seen) / (now - seen_at)), 1)
