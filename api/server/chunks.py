"""Bodies in chunks. Source: RFC 9112, section 7.1."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from api.server.head import FIELDS, HEAD_BYTES, LONE, RequestRefused

if TYPE_CHECKING:
    from api.server.turns import Turns

_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_SIZE_BYTES: Final = 256
"""The longest line of a size, with its extensions."""


class ChunkDecoder:
    """One body in chunks, in pieces of any length.

    Args:
        turns: how many chunks may be read at once.

    Attributes:
        rest: once the body has ended, what stood behind it; None before.
        is_behind: whether it has chunks that are to be read in a later turn, by decoding nothing more.
    """

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._held = b""
        self._left = 0
        self._is_behind_chunk = False
        self._is_in_trailer = False
        self.rest: bytes | None = None
        self.is_behind = False

    def decode(self, data: bytes) -> bytes:
        """Return the content in the next piece, as much of it as its turn allows. Extensions and trailers are dropped.

        Raises:
            RequestRefused: these are no chunks.
        """
        data = self._held + data
        contents: list[bytes] = []
        at, most = 0, self._turns.most()
        while at < len(data) and self.rest is None and len(contents) < most:
            if self._left:
                content = data[at : at + self._left]
                contents.append(content)
                at += len(content)
                self._left -= len(content)
            elif self._is_behind_chunk or self._is_in_trailer:
                if (end := self._end_of_line(data, at)) == at:
                    break
                at = end
            elif (start := self._end_of_size(data, at)) == at:
                break
            elif self._left and data[(stop := start + self._left) : stop + 2] == b"\r\n":
                # All of the chunk, as nearly always: a client may send a chunk for each byte.
                contents.append(data[start:stop])
                at, self._left, self._is_behind_chunk = stop + 2, 0, False
            else:
                at = start
        self._turns.spend(len(contents))
        self._held = b"" if self.rest is not None else data[at:]
        self.is_behind = bool(self._held) and len(contents) == most
        return b"".join(contents)

    def _end_of_size(self, data: bytes, at: int) -> int:
        """Read the line at `at` that begins a chunk; return where it ends, or `at` if more must come."""
        size = _SIZE.match(data, at, at + _SIZE_BYTES)
        if size is None:
            if data.find(b"\n", at, at + _SIZE_BYTES) >= 0 or len(data) - at >= _SIZE_BYTES:
                raise RequestRefused(400, "The size of a chunk is malformed.")
            return at
        self._left = int(size[1], 16)
        self._is_in_trailer = self._left == 0
        self._is_behind_chunk = not self._is_in_trailer
        return size.end()

    def _end_of_line(self, data: bytes, at: int) -> int:
        """Read what stands at `at` behind a chunk; return where it ends, or `at` if more must come."""
        if self._is_in_trailer:
            return self._end_of_trailer(data, at)
        # Two bytes are not skipped unseen: that let requests be smuggled through h11 (CVE-2025-43859).
        if not b"\r\n".startswith(data[at : at + 2]):
            raise RequestRefused(400, "A chunk of the body is longer than it said.")
        if len(data) < at + 2:
            return at
        self._is_behind_chunk = False
        return at + 2

    def _end_of_trailer(self, data: bytes, at: int) -> int:
        if data.startswith(b"\r\n", at):
            self.rest = data[at + 2 :]
            return at + 2
        found = data.find(b"\r\n\r\n", at, at + HEAD_BYTES)
        if LONE.search(data, at, found + 4 if found >= 0 else len(data)):
            raise RequestRefused(400, "The trailer of the body is malformed.")
        if found < 0:
            if len(data) - at >= HEAD_BYTES:
                raise RequestRefused(431, f"The trailer of the body is larger than {HEAD_BYTES} bytes.")
            return at
        if not FIELDS.fullmatch(data, at, found + 4):
            raise RequestRefused(400, "The trailer of the body is malformed.")
        self.rest = data[found + 4 :]
        return found + 4
