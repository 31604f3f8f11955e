"""Says when the event loop of a process was held: the others' streams stand still meanwhile.

What is measured is the processor time of the process, not the time of the clock: that a busy machine lets others go
first is no fault of ours.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from shared.process.tasks import spawn_critical

_log = logging.getLogger(__name__)

TICK_S: Final = 0.005
HELD: Final = "the event loop was held"
"""Beginning of each warning."""


async def watch_loop(most_s: float) -> None:
    """Warn of every step of the event loop that took more processor time than `most_s` seconds, for good."""
    while True:
        began_s = time.process_time()
        await asyncio.sleep(TICK_S)
        taken_s = time.process_time() - began_s
        if taken_s > most_s:
            _log.warning("%s for %d ms", HELD, taken_s * 1000)


def spawn_watch(most_s: float | None) -> asyncio.Task[None] | None:
    """Watch the event loop, if `most_s` says from when on a step is too long; the caller keeps the task."""
    return None if most_s is None else spawn_critical(watch_loop(most_s), name="loop watch")
