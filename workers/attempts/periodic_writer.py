"""Keeps what has come of an answer in Redis: for whoever closes its request should this process die."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from shared.redis.client import UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

EVERY_S: Final = 1.0
LIFE_S: Final = 900
"""For how long it is kept where nobody closes the request: longer than an api process can be away."""


class PeriodicWriter:
    """Writes at most once a second, and only where something is new.

    Args:
        write: writes all that has come.
    """

    def __init__(self, write: Callable[[], Awaitable[None]]) -> None:
        self._write = write
        self._has_more = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def note(self) -> None:
        """Take note that more has come."""
        self._has_more.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._keep(), name="keep an answer")

    def stop(self) -> None:
        """Write no more."""
        if self._task is not None:
            self._task.cancel()

    async def _keep(self) -> None:
        while True:
            await self._has_more.wait()
            self._has_more.clear()
            with suppress(*UNREACHABLE):
                await self._write()
            await asyncio.sleep(EVERY_S)
