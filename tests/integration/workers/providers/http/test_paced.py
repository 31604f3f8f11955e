"""Replies of model servers by way of aiohttp, as those with TLS are."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from aiohttp.client_proto import ResponseHandler

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
    parsed: Counter[int] = Counter()
    loop, turn, parse = asyncio.get_running_loop(), 0, ResponseHandler.data_received

    def counted(handler: ResponseHandler, data: bytes) -> None:
        parsed[turn] += len(data)
        parse(handler, data)

    def next_turn() -> None:
        nonlocal turn
        turn += 1
        ticks[:] = [loop.call_soon(next_turn)]

    ticks: list[asyncio.Handle] = []
    next_turn()
    monkeypatch.setattr(ResponseHandler, "data_received", counted)
    async with await asyncio.start_server(_answer, "127.0.0.1", 0) as server:
        client = UpstreamClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", headers={}, connections=8)
        assert await asyncio.gather(*(_size(client) for _ in range(AT_ONCE))) == [CHUNKS] * AT_ONCE
        await client.close()
    ticks[0].cancel()
    # One that was not the first of its connection, and, where none waited, one that was.
    assert max(parsed.values()) <= 2 * UPSTREAM_PIECE_BYTES
