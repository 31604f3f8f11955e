"""The clock: what a test counts by the minute or the day must not end while it does."""

from __future__ import annotations

import asyncio
import time

DAY_S = 86_400
_BEYOND_S = 0.1
"""So that the next one has begun by every clock."""


async def minute_lasts() -> None:
    """Wait for the next minute unless enough is left of this one."""
    await _lasts(60, 25)


async def day_lasts() -> None:
    """Wait for the next day, in UTC, unless enough is left of this one; a month ends with a day."""
    await _lasts(DAY_S, 90)


async def _lasts(period_s: int, needed_s: int) -> None:
    left_s = period_s - time.time() % period_s
    if left_s < needed_s:
        await asyncio.sleep(left_s + _BEYOND_S)
