"""The head of a request in HTTP/1.1: which bytes are one, and what they say of the body.

Source: RFC 9112 (message syntax, sections 2 to 6), RFC 9110 (field names and values, section 5). Where the standard
lets a server be lenient (a bare line feed, a folded line, the same length twice, a length beside a coding), this is
not: a proxy in front of us may have read the same bytes another way.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

HEAD_BYTES: Final = 16 * 1024
"""The longest head."""
CHUNKED: Final = -1
"""The length of a body that says itself where it ends."""
HTTP2_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\n"
"""First bytes of a client that speaks HTTP/2 without asking (RFC 9113, section 3.4)."""

_TOKEN: Final = rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+"
_LINE: Final = _TOKEN + rb":[\t\x20-\x7e\x80-\xff]*\r\n"
_REQUEST_LINE: Final = rb"(" + _TOKEN + rb") (/[\x21-\x7e]*) HTTP/1\.([01])\r\n"
_HEAD: Final = re.compile(_REQUEST_LINE + rb"((?:" + _LINE + rb")*)\r\n")
_FIELD: Final = re.compile(rb"(" + _TOKEN + rb"):[ \t]*([^\r]*)\r\n")
FIELDS: Final = re.compile(rb"(?:" + _LINE + rb")*\r\n")
"""Fields and the empty line behind them."""
_FIRST_LINE: Final = re.compile(_REQUEST_LINE)
LONE: Final = re.compile(rb"(?<!\r)\n|\r(?=[^\n])")
"""A line feed, or a carriage return, that is half an end of a line."""
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
_OF_INTEREST: Final = frozenset((
    b"host", b"content-length", b"transfer-encoding", b"connection", b"expect", b"upgrade",
))  # fmt: skip
_SHOWN_BYTES: Final = 200
_UNIQUE: Final = (b"host", b"content-length", b"transfer-encoding")


class RequestRefused(Exception):
    """The bytes of a client are no request that is served.

    Args:
        status: of the answer.
        message: for the client.
        code: of the error.
    """

    def __init__(self, status: int, message: str, code: str = "malformed_request") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code


class RequestHead(NamedTuple):
    """A parsed request head. `length` is that of the body in bytes, or `CHUNKED`."""

    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    length: int
    keeps_alive: bool
    expects_continue: bool


def head_end(data: bytes | bytearray) -> int:
    """Return where the head ends that `data` begins with; 0 where more must come.

    Raises:
        RequestRefused: no head can begin so.
    """
    end = data.find(b"\r\n\r\n", 0, HEAD_BYTES) + 4
    if end >= 4:
        return end
    if len(data) >= HEAD_BYTES:
        raise RequestRefused(431, f"The head of the request is larger than {HEAD_BYTES} bytes.")
    is_begun = not data or _FIRST_LINE.match(data) or HTTP2_PREFACE.startswith(bytes(data))
    if LONE.search(data) or not (is_begun or (data[0] > 0x20 and b"\r\n" not in data)):
        raise RequestRefused(400, "The request is no HTTP/1.1.")
    return 0


def read_head(data: bytes | bytearray) -> RequestHead | None:
    """Return what a head says, its empty line included; None if its client wants another protocol than HTTP/1.1.

    Raises:
        RequestRefused: it is malformed, or could be read in two ways.
    """
    match = _HEAD.fullmatch(data)
    if match is None:
        if data == HTTP2_PREFACE:
            return None
        raise RequestRefused(400, "The head of the request is malformed.")
    method, target, minor, fields = match.groups()
    headers = []
    found: dict[bytes, bytes] = {}
    for raw_name, raw_value in _FIELD.findall(fields):
        name, value = raw_name.lower(), raw_value.rstrip(b" \t")
        headers.append((name, value))
        if name in _OF_INTEREST:
            if name in found and name in _UNIQUE:
                raise RequestRefused(400, f"The request has more than one {name.decode()}.")
            found[name] = found[name] + b"," + value if name in found else value
    if minor == b"1" and b"host" not in found:
        raise RequestRefused(400, "The request has no host.")
    length = _length(found, minor)
    connection = _options(found.get(b"connection", b""))
    verb = method.decode().upper()  # as ASGI has it
    # With a body, even an empty one, Hypercorn takes no upgrade, and would go on with HTTP/1.1.
    upgrade = b"" if length or b"content-length" in found else found.get(b"upgrade", b"").lower()
    if minor == b"0" or upgrade == b"h2c":
        return None
    if upgrade == b"websocket" and verb == "GET" and b"upgrade" in connection:
        raise RequestRefused(404, f"There is no WebSocket at {target[:_SHOWN_BYTES].decode()}.", "not_found")
    expects_continue = length != 0 and found.get(b"expect", b"").lower() == b"100-continue"
    return RequestHead(verb, target, headers, length, b"close" not in connection, expects_continue)


def _length(found: dict[bytes, bytes], minor: bytes) -> int:
    """Return the length of the body: RFC 9112, section 6.3, without its leniencies."""
    coding, length = found.get(b"transfer-encoding"), found.get(b"content-length")
    if coding is None:
        if length is None:
            return 0
        if not _LENGTH.fullmatch(length):
            raise RequestRefused(400, "The content-length is no length.")
        return int(length)
    if length is not None or minor == b"0":
        raise RequestRefused(400, "It is not clear where the body ends: transfer-encoding or content-length?")
    if coding.lower() != b"chunked":
        raise RequestRefused(501, "The only transfer-encoding that is known is chunked.")
    return CHUNKED


def _options(connection: bytes) -> set[bytes]:
    return {option.strip() for option in connection.lower().split(b",")} if connection else set()
