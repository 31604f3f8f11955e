"""Writing to a client that may read more slowly than is written."""

from __future__ import annotations

import asyncio


class WritingProtocol(asyncio.BufferedProtocol):
    """A protocol whose writers can wait until their client has read."""

    _room: asyncio.Future[None] | None = None

    def pause_writing(self) -> None:
        """Let writers wait: the client reads more slowly than they write."""
        self._room = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """Let writers go on."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None

    async def drain(self) -> None:
        """Wait until the client has read enough of what was written."""
        if self._room is not None:
            await self._room
