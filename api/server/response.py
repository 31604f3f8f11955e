"""The head of a response in HTTP/1.1. Source: RFC 9112, sections 4 to 7."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final, NamedTuple
from wsgiref.handlers import format_date_time

import msgspec

from api.http.errors import error_object
from shared.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from api.server.head import RequestRefused

BODILESS: Final = (204, 304)
"""Statuses whose responses have no body."""
_FIELDS: Final = re.compile(rb"(?:[-!#$%&'*+.^_`|~0-9A-Za-z]+: [\t\x20-\x7e\x80-\xff]*\r\n)*")


class ResponseHead(NamedTuple):
    """A head as it is sent. `length` is that of the body in bytes; None for one in chunks."""

    data: bytes
    length: int | None
    keeps_alive: bool


class _Date:
    """The date of responses, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._field = b""

    def field(self) -> bytes:
        """Return the field of now."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._field = b"date: %s\r\n" % format_date_time(second).encode()
        return self._field


_date: Final = _Date()


def response_head(status: int, headers: Iterable[tuple[bytes, bytes]], *, keeps_alive: bool) -> ResponseHead:
    """Return the head of a response.

    Args:
        status: its status.
        headers: its fields; names in lower case.
        keeps_alive: whether another request may follow on the connection.

    Raises:
        ValueError: a field would end early, or begin another one.
    """
    length: int | None = None
    fields = []
    for name, value in headers:
        if name == b"connection":
            keeps_alive = keeps_alive and value.lower() != b"close"
        elif name != b"transfer-encoding":
            fields.append(b"%b: %b\r\n" % (name, value))
            if name == b"content-length":
                length = int(value)
    joined = b"".join(fields)
    # A value with a whole field in it would match as well: only the count tells.
    if joined.count(b"\n") != len(fields) or not _FIELDS.fullmatch(joined):
        raise ValueError("a field of the response is malformed")
    # A 204 may not have it (RFC 9112, 6.1), and a 304 needs none: neither has a body.
    framing = b"transfer-encoding: chunked\r\n" if length is None and status not in BODILESS else b""
    closing = b"" if keeps_alive else b"connection: close\r\n"
    # A reason may be left out, but not the space before it (RFC 9112, 4).
    data = b"HTTP/1.1 %d \r\n%b%b%b%b\r\n" % (status, joined, _date.field(), framing, closing)
    return ResponseHead(data, length, keeps_alive)


def refusal(refused: RequestRefused) -> bytes:
    """Return the response to bytes that are no request."""
    body = msgspec.json.encode({"error": error_object(InvalidRequest(refused.message, code=refused.code))})
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    return response_head(refused.status, headers, keeps_alive=False).data + body


def failure() -> bytes:
    """Return the response of an application that failed without one."""
    return response_head(500, [(b"content-length", b"0")], keeps_alive=False).data
