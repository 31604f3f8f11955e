"""Turns of the event loop, for connections whose next bytes are much work."""

from __future__ import annotations

import asyncio


class Turns:
    """Lets one at a time go on, so that many together hold the loop no longer than one alone."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def take(self) -> None:
        """Wait until those who came before have gone on, and for a turn of the loop."""
        async with self._lock:
            await asyncio.sleep(0)
