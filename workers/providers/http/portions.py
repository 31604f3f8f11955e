"""Content of a reply in portions: of half a megabyte that comes at once, the events would hold up everybody else."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import httpx

from shared.process.tasks import Pauses

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Read = Callable[[], Awaitable[bytes | None]]

PORTION_BYTES: Final = 8 * 1024
"""Bytes of a reply that are decoded, read and passed on in one step: a hundred events."""
COMPRESSED_BYTES: Final = 1024
"""The same of what is compressed: it may become a thousand times as large."""


class Portions:
    """Cuts content into portions, between which the event loop goes on.

    Args:
        read: returns the next content, None at the end.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._held = b""
        self._pause = Pauses()

    async def read(self) -> bytes | None:
        """Return the next portion, None at the end."""
        # Also before a read, which does not wait for what has come already.
        await self._pause()
        if not self._held:
            data = await self._read()
            if data is None:
                return None
            self._held = data
        portion, self._held = self._held[:PORTION_BYTES], self._held[PORTION_BYTES:]
        return portion


class _Compressed(httpx.AsyncByteStream):
    def __init__(self, read: Read) -> None:
        self._read = read

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (data := await self._read()) is not None:
            for start in range(0, len(data), COMPRESSED_BYTES):
                yield data[start : start + COMPRESSED_BYTES]


def decoded(coding: str, read: Read) -> Read:
    """Return what reads the content that comes by `read` in a `content-encoding`, as httpx decodes it."""
    response = httpx.Response(200, headers={"content-encoding": coding}, stream=_Compressed(read))
    return Portions(partial(anext, response.aiter_bytes(), None)).read
