"""Says when the event loop of a process was held: the others' streams stand still meanwhile.

What is measured is processor time, not the time of the clock: that a busy machine lets others go first is no fault of
ours. The loop's own thread holds it, and so does a thread beside it that calls a C library for long.
"""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Final

from shared.process.tasks import spawn_critical

_log = logging.getLogger(__name__)

TICK_S: Final = 0.005
HELD: Final = "the event loop was held"
"""Beginning of each warning."""
_SCHEDULED: Final = Path("/proc/thread-self/schedstat")


async def watch_loop(most_s: float) -> None:
    """Warn of every step of the event loop that took more processor time than `most_s` seconds, for good."""
    while True:
        own_s, process_s, waited_s = time.thread_time(), time.process_time(), _waited_s()
        await asyncio.sleep(TICK_S)
        # While the loop waits for a core, the threads beside it take none of its time.
        beside_s = time.process_time() - process_s - (_waited_s() - waited_s)
        taken_s = max(time.thread_time() - own_s, beside_s)
        if taken_s > most_s:
            _log.warning("%s for %d ms", HELD, taken_s * 1000)


def spawn_watch(most_s: float | None) -> asyncio.Task[None] | None:
    """Watch the event loop, if `most_s` says from when on a step is too long; the caller keeps the task."""
    return None if most_s is None else spawn_critical(watch_loop(most_s), name="loop watch")


def _waited_s() -> float:
    """Return how long this thread was ready and had no core so far; 0 where the kernel does not say (Linux does)."""
    try:
        return int(_SCHEDULED.read_bytes().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0
