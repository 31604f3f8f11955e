"""Reads what the live page shows, once for all browsers of this api process, and only while there are some."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from api.ui.pages.live.snapshot import Heads, Snapshot, read_snapshot
from shared.errors import Overloaded
from shared.postgres.database import DatabaseUnavailable
from shared.process.outage import OutageLog
from shared.process.tasks import end_all, wait_or
from shared.redis.client import UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from api.gateway import Gateway

_log = logging.getLogger(__name__)

EVERY_S: Final = 1.0
NAMES_S: Final = 3.0
"""Greatest age of the names of keys."""
MOST_WATCHES: Final = 200
"""Browsers of one process. More are told to come back: each costs a connection and a little each second."""


class Watch:
    """One browser's view: it is told when there is something new, and may miss what was in between."""

    def __init__(self) -> None:
        self._news = asyncio.Event()

    def notify(self) -> None:
        """Let it look."""
        self._news.set()

    async def wait(self, timeout_s: float) -> bool:
        """Wait for news; return whether there is some."""
        is_new = await wait_or(self._news, timeout_s)
        self._news.clear()
        return is_new


class LiveReader:
    """Reads a snapshot every second while somebody watches.

    Args:
        state: the gateway of this process.
    """

    def __init__(self, state: Gateway) -> None:
        self._state = state
        self._heads = Heads()
        self._names: dict[str, str] = {}
        self._names_at = -NAMES_S
        self._one_reading = asyncio.Lock()
        self._read_at = -EVERY_S
        self._watches: set[Watch] = set()
        self._task: asyncio.Task[None] | None = None
        self._outage = OutageLog(_log, "Redis")
        self.snapshot: Snapshot | None = None

    @property
    def is_ending(self) -> bool:
        """Return whether this process drains."""
        return self._state.draining

    async def now(self) -> Snapshot:
        """Return a snapshot that is no older than a second.

        Raises:
            RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
        """
        async with self._one_reading:
            if self.snapshot is None or time.monotonic() - self._read_at >= EVERY_S:
                self.snapshot = await read_snapshot(self._state, self._heads, await self._key_names())
                self._read_at = time.monotonic()
            return self.snapshot

    def check_room(self) -> None:
        """Return if one more browser can watch.

        Raises:
            Overloaded: there are too many.
        """
        if len(self._watches) >= MOST_WATCHES:
            raise Overloaded("Too many pages are watching already.", retry_after_s=30)

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[Watch]:
        """Return what a browser watches with; the reader reads until the last has left."""
        watch = Watch()
        self._watches.add(watch)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._follow(), name="live page")
        try:
            yield watch
        finally:
            self._watches.discard(watch)
            if not self._watches:
                # First: who comes while the old one ends begins another.
                task, self._task = self._task, None
                await end_all(task)

    async def _follow(self) -> None:
        while not self._state.draining:
            try:
                await self.now()
            except UNREACHABLE as error:
                self._outage.failed(error)
            except Exception:  # noqa: BLE001 -- what cannot be shown once may be shown in a second
                _log.exception("the live page cannot be read")
            else:
                self._outage.answered()
            for watch in self._watches:
                watch.notify()
            await asyncio.sleep(EVERY_S)

    async def _key_names(self) -> dict[str, str]:
        """Return the names of keys by their ids; while PostgreSQL does not answer, those that are known."""
        if time.monotonic() - self._names_at >= NAMES_S:
            # Before the statement: while PostgreSQL is away it is asked no more often.
            self._names_at = time.monotonic()
            try:
                keys = await self._state.keys.list(include_revoked=True)
            except DatabaseUnavailable:
                return self._names
            self._names = {key.id: key.name for key in keys}
        return self._names
