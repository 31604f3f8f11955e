"""Replies of HTTP/1.1 servers, taken apart: heads, and bodies of the three kinds. Pure. Source: RFC 9112.

Liberal where that can mean nothing else (line ends without CR, white space behind sizes); a body that may have been cut
is never taken for whole.
"""

from __future__ import annotations

import re
from typing import Final

import httpx

MOST_HEAD_BYTES: Final = 64 * 1024
MOST_LINE_BYTES: Final = 4096
"""Of a chunk's size with its extensions."""
_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
_STATUS: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [^\r\n]*)?\r?(?:\n|\Z)")
_FIELD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*+:([^\r\n\0]*+)\r?(?:\n|\Z)")
_SIZE: Final = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\n")
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_NO_CONTENT: Final = frozenset({204, 304})
_INTERIM: Final = range(100, 200)


def unreadable(what: str) -> httpx.RemoteProtocolError:
    """Return the error for a reply that is not HTTP."""
    return httpx.RemoteProtocolError(f"the reply cannot be read: {what}")


class Body:
    """A body that ends with its connection. Others know their end.

    Attributes:
        is_over: whether all of it has been decoded.
        is_clean: whether nothing stood behind it.
    """

    is_over = False
    is_clean = False

    def decode(self, data: bytes) -> bytes:
        """Return the content in the next bytes of the connection."""
        return data

    def end(self) -> None:
        """Take note that the connection has ended.

        Raises:
            httpx.RemoteProtocolError: the body is not whole.
        """
        self.is_over = True


class SizedBody(Body):
    """A body of a length that its head has said."""

    def __init__(self, size: int) -> None:
        self._left = size
        self.is_over = self.is_clean = not size

    def decode(self, data: bytes) -> bytes:
        """Return the content in the next bytes of the connection."""
        content = data[: self._left]
        self._left -= len(content)
        self.is_over = not self._left
        self.is_clean = self.is_over and len(content) == len(data)
        return content

    def end(self) -> None:
        """Raise what an end before the whole length is."""
        if not self.is_over:
            raise unreadable(f"the connection ended {self._left} bytes before the body did")


class ChunkedBody(Body):
    """A body in chunks; extensions and trailers are dropped."""

    def __init__(self) -> None:
        self._held = b""
        self._left = 0
        self._is_behind_chunk = self._is_in_trailer = False

    def decode(self, data: bytes) -> bytes:
        """Return the content in the next bytes of the connection.

        Raises:
            httpx.RemoteProtocolError: these are no chunks.
        """
        if self._held:
            data, self._held = self._held + data, b""
        contents: list[bytes] = []
        at, end = 0, len(data)
        if self._left:
            contents.append(data[: self._left])
            at = len(contents[0])
            self._left -= at
            self._is_behind_chunk = not self._left
        while at < end and not self.is_over:
            if self._is_behind_chunk or self._is_in_trailer:
                if (after := self._after_line(data, at)) == at:
                    break
                at = after
                continue
            size = _SIZE.match(data, at)
            if size is None:
                self._hold(data, at)
                break
            start, count = size.end(), int(size[1], 16)
            stop = start + count
            contents.append(data[start:stop])
            is_there = count and data[stop : stop + 2] == b"\r\n"  # all of the chunk, as nearly always
            at = stop + 2 if is_there else self._begin(start, count, end)
        self.is_clean = self.is_over and at == end
        return b"".join(contents)

    def _begin(self, start: int, count: int, end: int) -> int:
        """Begin a chunk of which not all is there, or the trailer; return where what is there of it ends."""
        at = min(start + count, end)
        self._left = start + count - at
        self._is_in_trailer = not count
        self._is_behind_chunk = bool(count) and not self._left
        return at

    def end(self) -> None:
        """Raise what an end before the last chunk is."""
        if not self.is_over:
            raise unreadable("the connection ended in the middle of a body in chunks")

    def _after_line(self, data: bytes, at: int) -> int:
        """Read the line end behind a chunk, or a line of the trailer; return where it ends, `at` if more must come."""
        found = data.find(b"\n", at)
        if found < 0:
            self._hold(data, at)
            return at
        is_empty = not data[at:found].rstrip(b"\r")
        if self._is_behind_chunk and not is_empty:
            raise unreadable("a chunk is longer than it said")
        self._is_behind_chunk = False
        self.is_over = self._is_in_trailer and is_empty
        return found + 1

    def _hold(self, data: bytes, at: int) -> None:
        """Keep the beginning of a line until the rest of it comes."""
        if b"\n" in data[at:] or len(data) - at > MOST_LINE_BYTES:
            raise unreadable("the size of a chunk is malformed")
        self._held = data[at:]


class Head:
    """The head of a reply.

    Attributes:
        status: its code.
        headers: by lower-case name; what stands there several times is joined by commas.
        size: how many bytes the head has.
        body: what follows.
        may_stay: whether the connection can serve again, once the body is over.
    """

    def __init__(self, status: int, headers: dict[str, str], size: int, *, is_old: bool) -> None:
        self.status, self.headers, self.size = status, headers, size
        connection = headers.get("connection", "").lower()
        self.may_stay = "keep-alive" in connection if is_old else "close" not in connection
        coding, length = headers.get("transfer-encoding", "").lower(), headers.get("content-length", "")
        if status in _NO_CONTENT:
            self.body: Body = SizedBody(0)
        elif coding:
            self.body = ChunkedBody() if coding.rpartition(",")[2].strip() == "chunked" else Body()
            self.may_stay = self.may_stay and not length  # two lengths: one of them is somebody else's
        elif length:
            lengths = {text.strip() for text in length.split(",")}
            if len(lengths) > 1 or not _LENGTH.fullmatch(stated := lengths.pop()):
                raise unreadable("its length is malformed")
            self.body = SizedBody(int(stated))
        else:
            self.body = Body()


def read_head(data: bytes) -> Head | None:
    """Return the head at the start of `data`, None if more must come; interim replies are skipped.

    Raises:
        httpx.RemoteProtocolError: it is none.
    """
    start = 0
    while True:
        end = _HEAD_END.search(data, start, MOST_HEAD_BYTES)
        if end is None:
            if len(data) >= MOST_HEAD_BYTES or not _may_begin(data[start : start + 5]):
                raise unreadable("its head is too long, or none")
            return None
        status = _STATUS.match(data, start, end.start() + 1)
        if status is None:
            raise unreadable("its first line is malformed")
        if int(status[2]) not in _INTERIM:
            break
        start = end.end()
    headers: dict[str, str] = {}
    at = status.end()
    while at < end.start():
        field = _FIELD.match(data, at, end.start() + 1)
        if field is None:
            raise unreadable("a field of its head is malformed")
        name, value = field[1].decode("ascii").lower(), field[2].strip(b" \t").decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
        at = field.end()
    return Head(int(status[2]), headers, end.end(), is_old=status[1] == b"0")


def _may_begin(data: bytes) -> bool:
    return b"HTTP/".startswith(data)
