"""Turns of the event loop: how many chunks of bodies are read in each, of all connections together.

A chunk takes as long to read whether it has one byte or thousands. A client may send ten thousand with each piece that
is read, and many clients at once: what they hold up together must be no more than what one may.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNKS_AT_ONCE: Final = 256
"""Of one connection, before others have their turn: a fraction of a millisecond."""
CHUNKS_A_TURN: Final = 2048
"""Of all connections, before the event loop goes on with all else: a few milliseconds."""


class Turns:
    """Deals out the chunks of each turn. Who finds none left waits, in the order in which they came."""

    def __init__(self) -> None:
        self._left = CHUNKS_A_TURN
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_dealing = self._is_due = False

    def most(self) -> int:
        """Return how many chunks may be read now; 0 where their connection is to wait for its turn."""
        if self._waiting and not self._is_dealing:
            return 0
        return min(CHUNKS_AT_ONCE, self._left)

    def spend(self, chunks: int) -> None:
        """Count chunks that were read: as many as `most` said at most."""
        self._left -= chunks
        # Not for a few: what is left then does for the next turn too, and ordinary bodies begin none.
        if self._left < CHUNKS_A_TURN // 2:
            self._schedule()

    def wait(self, read_on: Callable[[], None]) -> None:
        """Call `read_on` when it has its turn; it may wait again then."""
        self._waiting.append(read_on)
        self._schedule()

    async def take(self, chunks: int) -> None:
        """Wait for a turn, and take what is as much work as so many chunks."""
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def begin() -> None:
            self._left -= chunks
            if not begun.done():  # else whoever waited has left
                begun.set_result(None)

        self.wait(begin)
        await begun

    def _schedule(self) -> None:
        if not (self._is_due or self._is_dealing):
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._deal)

    def _deal(self) -> None:
        """Begin a turn: those that wait come first."""
        self._is_due, self._left, self._is_dealing = False, CHUNKS_A_TURN, True
        try:
            while self._waiting and self._left > 0:
                self._waiting.popleft()()
        finally:
            self._is_dealing = False
            if self._waiting or self._left < CHUNKS_A_TURN // 2:
                self._schedule()
