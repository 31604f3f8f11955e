"""Background tasks without which a process is no use: when one fails, the process ends and is started again."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Coroutine

_log = logging.getLogger(__name__)

CANCEL_AGAIN_S: Final = 0.5


def spawn_critical(work: Coroutine[None, None, None], *, name: str) -> asyncio.Task[None]:
    """Run `work` beside everything else. Should it ever raise, the process drains and ends (SIGTERM to itself)."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    task.add_done_callback(_end_if_failed)
    return task


async def end_all(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancel tasks until they have ended, and see no error in how.

    More than once, since a cancellation can get lost: `asyncio.wait_for` of Python 3.11, which redis-py sends with,
    drops one that comes in the moment when what it waits for is done (python/cpython#86296).
    """
    pending = {task for task in tasks if task is not None and not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)


def _end_if_failed(task: asyncio.Task[None]) -> None:
    if task.cancelled() or task.exception() is None:
        return
    _log.critical("%s failed: this process ends", task.get_name(), exc_info=task.exception())
    os.kill(os.getpid(), signal.SIGTERM)
