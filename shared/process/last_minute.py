"""A count of the last minute."""

from __future__ import annotations

import time
from typing import Final

STEP_S: Final = 5
_STEPS: Final = 12


class CountOfLastMinute:
    """Counts by five seconds, so that it stays small however often it happens."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def add(self) -> None:
        """Count one more, now."""
        step = int(time.monotonic() / STEP_S)
        if step not in self._counts:
            self._forget(step)
            self._counts[step] = 0
        self._counts[step] += 1

    def total(self) -> int:
        """Return how often it happened in the last minute."""
        self._forget(int(time.monotonic() / STEP_S))
        return sum(self._counts.values())

    def _forget(self, now: int) -> None:
        self._counts = {step: count for step, count in self._counts.items() if step > now - _STEPS}
