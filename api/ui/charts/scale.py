"""Axes: round numbers up to the highest value, and round times."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

HIGHEST: Final = 1e15
"""Larger values are drawn as this one."""
LEAST: Final = 1e-6
"""Smaller values are drawn as nothing."""
MOST_TICKS: Final = 4
MOST_TIMES: Final = 7
_ROUND: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
_WHOLE: Final = (1.0, 2.0, 5.0, 10.0)
_MINUTES: Final = (1, 2, 5, 10, 15, 30, 60, 120, 180, 240, 360, 720)
_DAYS: Final = (1, 2, 5, 7, 14, 28, 91, 182, 365, 3650)
_STEPS: Final = tuple(timedelta(minutes=n) for n in _MINUTES) + tuple(timedelta(days=n) for n in _DAYS)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def drawable(value: float | None) -> float | None:
    """Return a value as it can be drawn: None where there is none, between 0 and `HIGHEST`."""
    if value is None or math.isnan(value):
        return None
    return 0.0 if value < LEAST else float(min(value, HIGHEST))


def ticks(highest: float, *, is_whole: bool = False) -> list[float]:
    """Return round numbers from 0 to the highest value or a little more, five at the most."""
    highest = highest if highest >= LEAST else 1.0
    exponent = math.floor(math.log10(highest / MOST_TICKS))
    if is_whole:
        exponent = max(0, exponent)
    step = next(
        factor * 10.0**exponent
        for factor in (_WHOLE if is_whole and exponent == 0 else _ROUND)
        # Less the last bits: three times 0.1 is a little more than 0.3.
        if factor * 10.0**exponent * MOST_TICKS >= highest * (1 - 1e-9)
    )
    count = max(1, math.ceil(highest / step * (1 - 1e-9)))
    return [step * number for number in range(count + 1)]


def time_ticks(times: Sequence[datetime], step: timedelta) -> list[datetime]:
    """Return round times (of UTC) between the first time and a step after the last, seven at the most."""
    if not times:
        return []
    start, end = times[0], times[-1] + step
    every = next((each for each in _STEPS if (end - start) / each <= MOST_TIMES), _STEPS[-1])
    first = _EPOCH + math.ceil((start - _EPOCH) / every) * every
    found: list[datetime] = []
    while first < end and len(found) <= MOST_TIMES:
        found.append(first)
        first += every
    return found


def clock_text(moment: datetime, every: timedelta) -> str:
    """Return what stands at an axis for a time of UTC: the time of day where ticks are close, else the day."""
    return f"{moment:%H:%M}" if every < timedelta(days=1) else f"{moment.day} {moment:%b}"
