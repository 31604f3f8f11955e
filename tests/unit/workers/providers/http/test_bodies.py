"""Replies taken apart, against aiohttp's reader as the yardstick, and cut at every byte."""

from __future__ import annotations

import asyncio
import random
from typing import Final

import httpx
import pytest
from aiohttp import streams
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpResponseParser

from workers.providers.http.bodies import MOST_HEAD_BYTES, MOST_LINE_BYTES, ChunkedBody, read_head

CHUNKED: Final = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n"
    b"5\r\nHello\r\n1;a=b\r\n,\r\nA\r\n 123456789\r\n0\r\nT: 1\r\n\r\n"
)
SIZED: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nHello"
OPEN: Final = b"HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nHello"
INTERIM: Final = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nx: y\r\n\r\n" + SIZED
WHOLE: Final = {
    "chunked": (CHUNKED, b"Hello, 123456789"),
    "sized": (SIZED, b"Hello"),
    "until the end": (OPEN, b"Hello"),
    "after interim replies": (INTERIM, b"Hello"),
    "nothing": (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    "line ends without CR": (b"HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n5 \nHello\n0\n\n", b"Hello"),
    "an empty reason": (b"HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n", b""),
}


def read(pieces: list[bytes]) -> bytes:
    """Return the content of a reply that comes in these pieces and then ends."""
    data, head, content = b"", None, b""
    for piece in pieces:
        if head is None:
            data += piece
            if (head := read_head(data)) is not None and (rest := data[head.size :]):
                content += head.body.decode(rest)
        elif not head.body.is_over:
            content += head.body.decode(piece)
    if head is None:
        raise httpx.RemoteProtocolError("no head")
    if not head.body.is_over:
        head.body.end()
    return content


def read_by_aiohttp(data: bytes) -> bytes | None:
    """Return the same by aiohttp, None where it refuses."""
    loop = asyncio.new_event_loop()
    try:
        protocol = BaseProtocol(loop)
        parser = HttpResponseParser(protocol, loop, 2**16, read_until_eof=True)
        protocol._parser = parser
        try:
            messages, _, _ = parser.feed_data(data)
            parser.feed_eof()
        except HttpProcessingError:
            return None
        found = [payload for message, payload in messages if message.code >= 200]
        if not found:
            return None
        payload: streams.StreamReader = found[0]
        if payload.exception() is not None:
            return None
        return payload.read_nowait() if payload._buffer else b""
    finally:
        loop.close()


@pytest.mark.parametrize("name", WHOLE)
def test_a_reply_is_the_same_wherever_it_is_cut(name: str) -> None:
    """Into two pieces at each byte, and into single bytes."""
    data, content = WHOLE[name]
    assert read([data]) == content
    assert read([data[at : at + 1] for at in range(len(data))]) == content
    assert [read([data[:at], data[at:]]) for at in range(len(data))] == [content] * len(data)


@pytest.mark.parametrize("data", [CHUNKED, SIZED])
def test_a_reply_that_ends_early_is_not_whole(data: bytes) -> None:
    """Wherever its connection ends."""
    for at in range(len(data)):
        with pytest.raises(httpx.RemoteProtocolError):
            read([data[:at]])


def test_what_is_taken_aiohttp_takes_with_the_same_content() -> None:
    """Whatever is wrong with it: nothing is read that another reader would read otherwise."""
    chance = random.Random(31)
    seen = 0
    for _ in range(4000):
        data = bytearray(chance.choice([CHUNKED, SIZED, OPEN, INTERIM]))
        for _ in range(chance.randint(1, 2)):
            at = chance.randrange(len(data))
            which = chance.randrange(3)
            new = chance.choice(b"\r\n\0 \t:;,0159aAfFxX-+_{}\xff")
            if which == 0:
                data[at] = new
            elif which == 1:
                data.insert(at, new)
            else:
                del data[at]
        try:
            ours = read([bytes(data)])
        except httpx.RemoteProtocolError:
            continue
        theirs = read_by_aiohttp(bytes(data))
        seen += theirs is not None
        assert theirs in {ours, None}, bytes(data)
    assert seen > 400


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/2 200 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nHello!",
        b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nHello",
        b"HTTP/1.1 200 OK\r\ncontent-length: %b\r\n\r\nHello" % (b"5" * 5000),
        b"HTTP/1.1 200 OK\r\ncontent-length: \xb2\r\n\r\nHello",
        b"HTTP/1.1 200 OK\r\nno field\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nHello!\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-5\r\nHello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0x5\r\nHello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"0" * MOST_LINE_BYTES + b"5",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * MOST_HEAD_BYTES,
    ],
)
def test_what_is_no_reply_is_refused(data: bytes) -> None:
    """As soon as that is clear, not once the connection ends."""
    with pytest.raises(httpx.RemoteProtocolError):
        read([data, b"more"])


def test_what_stands_behind_a_body_spoils_its_connection() -> None:
    """It would be taken for the next reply."""
    body = ChunkedBody()
    assert body.decode(b"1\r\na\r\n0\r\n\r\nHTTP/1.1 200") == b"a"
    assert body.is_over
    assert not body.is_clean


def test_white_space_in_a_field_costs_no_more_than_other_text() -> None:
    """It took half a minute."""
    spaces = b" " * (MOST_HEAD_BYTES - 100)
    head = read_head(b"HTTP/1.1 200 OK\r\nx: a" + spaces + b"b \r\n\r\n")
    assert head is not None
    assert len(head.headers["x"]) == len(spaces) + 2
    with pytest.raises(httpx.RemoteProtocolError):
        read_head(b"HTTP/1.1 200 OK\r\nx: " + spaces + b"\0\r\n\r\n")


def test_interim_replies_without_end_are_refused() -> None:
    """All of them are held until the reply itself comes."""
    with pytest.raises(httpx.RemoteProtocolError):
        read_head(b"HTTP/1.1 100 Continue\r\n\r\n" * MOST_HEAD_BYTES)
