"""Background tasks: those without which a process is no use, those that follow something, and waiting.

When a task of the first kind fails, the process ends and is started again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakKeyDictionary

from shared.process.log import REQUEST_ID
from shared.process.threads import in_one_thread
from shared.process.tracing.context import TRACE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

T = TypeVar("T")
_log = logging.getLogger(__name__)

CANCEL_AGAIN_S: Final = 0.5
WORK_S: Final = 0.005
"""Time that work in pieces may hold the event loop, that of all tasks together."""
LARGE_BYTES: Final = 64 * 1024
"""Work on more bytes than these is done in a thread."""


def spawn_critical(work: Coroutine[None, None, None], *, name: str) -> asyncio.Task[None]:
    """Run `work` beside everything else. Should it ever raise, the process drains and ends (SIGTERM to itself)."""
    context = copy_context()
    # Whichever request was the first to need it: it is about none.
    context.run(REQUEST_ID.set, "")
    context.run(TRACE.set, None)
    # Callers keep the task: the loop itself holds it only weakly.
    task = asyncio.get_running_loop().create_task(work, name=name, context=context)
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


async def wait_or(event: asyncio.Event, timeout_s: float) -> bool:
    """Wait until `event` is set, at most `timeout_s` seconds; return whether it is."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
    return event.is_set()


async def first_of(*waits: Coroutine[Any, Any, object]) -> None:
    """Wait until one of them has ended, and cancel the others."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end_all(*tasks)


class Follower:
    """Calls `refresh` at every `wake` and at regular intervals, one call at a time.

    Args:
        refresh: looks at what is followed; an exception of it ends the follower.
        every_s: seconds between two calls, or a function that gives them anew after each call.
    """

    def __init__(self, refresh: Callable[[], Awaitable[object]], every_s: float | Callable[[], float]) -> None:
        self._refresh = refresh
        self._every_s = every_s
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Wake the task to call `refresh` now, and once more after a call that is under way."""
        self._wake.set()

    async def run(self) -> None:
        """Call `refresh` at once, then follow."""
        while True:
            # Cleared before the call, so that news which comes while it looks leads to another look.
            self._wake.clear()
            await self._refresh()
            await self._wait()

    async def follow(self) -> None:
        """Call `refresh` at the first `wake` or after the first interval, and so on."""
        await self._wait()
        await self.run()

    async def _wait(self) -> None:
        await wait_or(self._wake, self._every_s if isinstance(self._every_s, float | int) else self._every_s())


class Following(ABC):
    """Something that follows what stands elsewhere: it looks when it starts, at news, and at regular intervals.

    Args:
        every_s: seconds between two looks, or a function that gives them anew after each look.
        name: of its task, for the log.
    """

    def __init__(self, every_s: float | Callable[[], float], *, name: str) -> None:
        self._follower = Follower(self.look, every_s)
        self._name = name
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Refresh once, then start to follow."""
        await self.look()
        self._task = spawn_critical(self._follower.follow(), name=self._name)

    async def stop(self) -> None:
        await end_all(self._task)

    def invalidate(self, _subject: str = "") -> None:
        """Refresh soon: something changed, or a message may have been missed."""
        self._follower.wake()

    @abstractmethod
    async def look(self) -> None:
        """Refresh once; while what is followed cannot be reached, warn once and keep what is known."""


class _Turn:
    """One round of an event loop, as far as work in pieces goes."""

    def __init__(self) -> None:
        self.due = 0.0
        self._is_ending = False

    def end(self) -> None:
        """Let the next round begin the next turn."""
        if not self._is_ending:
            self._is_ending = True
            asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        self._is_ending = False
        self.due = time.monotonic() + WORK_S


_turns: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, _Turn]] = WeakKeyDictionary()


class Pauses:
    """Lets the event loop go on in the middle of long work. Awaiting a call costs next to nothing until one is due.

    Of many tasks that do such work the first goes on in each round of the loop, the others wait.
    """

    def __init__(self) -> None:
        self._turn = _turns.setdefault(asyncio.get_running_loop(), _Turn())

    async def __call__(self) -> None:
        """Yield to other tasks, if there was work for WORK_S in this round."""
        while time.monotonic() >= self._turn.due:
            self._turn.end()
            await asyncio.sleep(0)


async def work_beside(size_bytes: int, work: Callable[[], T]) -> T:
    """Return what `work` returns: called at once on few bytes, and in a thread on many, one after the other.

    Python's own steps let the event loop go on every few milliseconds; a single call of a C library does not.
    """
    return work() if size_bytes <= LARGE_BYTES else await in_one_thread(work)


def _end_if_failed(task: asyncio.Task[None]) -> None:
    if task.cancelled() or task.exception() is None:
        return
    _log.critical("%s failed: this process ends", task.get_name(), exc_info=task.exception())
    # As if it had been stopped: what runs is drained, and the supervisor starts the process again.
    os.kill(os.getpid(), signal.SIGTERM)
