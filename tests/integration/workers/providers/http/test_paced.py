"""Replies of model servers by way of aiohttp, as those with TLS are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.parsed import bytes_parsed
from workers.providers.http.client import UpstreamClient, content_of
from workers.providers.http.paced import UPSTREAM_PIECE_BYTES

if TYPE_CHECKING:
    import pytest

CHUNKS = 100_000
AT_ONCE = 3
REPLY = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * CHUNKS + b"0\r\n\r\n"


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(REPLY)
    await writer.drain()
    writer.close()


async def _size(client: UpstreamClient) -> int:
    """Ask; return how many bytes the reply has."""
    response = await client.send("GET", "/", None)
    read, size = content_of(response), 0
    while (data := await read()) is not None:
        size += len(data)
    await response.aclose()
    return size


async def test_what_servers_send_at_once_is_parsed_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a turn of the event loop no more than a piece, of all connections of a server."""
    with bytes_parsed(monkeypatch) as parsed:
        async with await asyncio.start_server(_answer, "127.0.0.1", 0) as server:
            client = UpstreamClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", headers={}, connections=8)
            assert await asyncio.gather(*(_size(client) for _ in range(AT_ONCE))) == [CHUNKS] * AT_ONCE
            await client.close()
    # One that was not the first of its connection, and, where none waited, one that was.
    assert max(parsed.values()) <= 2 * UPSTREAM_PIECE_BYTES
