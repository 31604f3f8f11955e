"""A call that is planned for later, one at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Timer:
    """Calls `due` once, when it was last planned for.

    Args:
        due: what is called.
    """

    def __init__(self, due: Callable[[], None]) -> None:
        self._due = due
        self._handle: asyncio.TimerHandle | None = None

    def plan(self, wait_s: float | None) -> None:
        """Call in so many seconds, or never, whatever was planned before."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if wait_s is not None:
            self._handle = asyncio.get_running_loop().call_later(wait_s, self._due)
