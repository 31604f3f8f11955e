"""A cache of what was read not long ago: many browsers cost what one costs."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_Found = TypeVar("_Found")


class Recent(Generic[_Found]):
    """Keeps what was read for a while. Who asks while it is read waits for the same reading.

    Args:
        life_s: how long it is kept.
    """

    def __init__(self, life_s: float) -> None:
        self._life_s = life_s
        self._one_reading = asyncio.Lock()
        self._kept: tuple[float, _Found] | None = None

    async def get(self, read: Callable[[], Awaitable[_Found]]) -> _Found:
        """Return what was read, of now or of not long ago; an error of a reading is its caller's alone."""
        async with self._one_reading:
            now = time.monotonic()
            if self._kept is None or now - self._kept[0] > self._life_s:
                self._kept = (now, await read())
            return self._kept[1]
