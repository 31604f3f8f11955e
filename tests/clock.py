"""The clock: what a test counts by the minute or the day must not end while it does."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

from shared.models.quota_day import ms_until_reset

DAY_S = 86_400
_BEYOND_S = 0.1
"""So that the next one has begun by every clock."""


async def minute_lasts() -> None:
    """Wait for the next minute unless enough is left of this one."""
    await _lasts(60 - time.time() % 60, 25)


async def day_lasts(needed_s: int = 90) -> None:
    """Wait for the next day, in UTC, unless enough is left of this one; a month ends with a day."""
    await _lasts(DAY_S - time.time() % DAY_S, needed_s)


async def quota_day_lasts() -> None:
    """Wait for the next day of Gemini's quotas, at midnight US Pacific, unless enough is left of this one."""
    await _lasts(ms_until_reset(datetime.now(UTC)) / 1000, 90)


async def _lasts(left_s: float, needed_s: int) -> None:
    if left_s < needed_s:
        await asyncio.sleep(left_s + _BEYOND_S)
