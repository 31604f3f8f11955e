"""The direct way to a model server: when a connection serves again, and when a request is sent again."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from workers.providers.http import direct
from workers.providers.http.direct import ClosedWhileIdle, Connection, DirectClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@asynccontextmanager
async def served(
    by: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[tuple[DirectClient, int]]:
    """A client of a server, and the port of that."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await by(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    client = DirectClient(f"http://127.0.0.1:{port}", headers={}, connections=1)
    try:
        yield client, port
    finally:
        await client.close()
        server.close()
        for writer in writers:
            writer.transport.abort()


async def ask(client: DirectClient, content: bytes | None = None) -> bytes | None:
    """What the server says."""
    reply = await client.send("POST", "/", content)
    try:
        return await reply.read()
    finally:
        await reply.aclose()


@pytest.mark.parametrize("is_soon", [True, False])
async def test_what_the_server_may_have_begun_is_not_taken_for_stale(
    monkeypatch: pytest.MonkeyPatch, *, is_soon: bool
) -> None:
    """A kept connection that ends long after a request was sent had not been closed before."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    monkeypatch.setattr(direct, "STALE_S", 60.0 if is_soon else 0.0)
    async with served(once) as (client, _):
        assert await ask(client) == b"ok"
        with pytest.raises(httpx.ReadError) as raised:
            await ask(client)
        assert isinstance(raised.value, ClosedWhileIdle) == is_soon


async def test_an_answer_before_the_whole_request_was_read_ends_the_connection() -> None:
    """The rest of the request would be taken for the next one."""
    opened: list[Any] = []

    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)

    async with served(hasty) as (client, _), asyncio.timeout(60):
        for _ in range(2):
            assert await ask(client, b"x" * 64 * 1024 * 1024) == b"ok"
        assert len(opened) == 2


async def test_a_client_that_was_closed_keeps_no_connection() -> None:
    """Also not those of replies that end later."""
    ended = asyncio.Event()

    async def until_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await reader.read()
        ended.set()

    async with served(until_end) as (client, _):
        reply = await client.send("GET", "/", None)
        await client.close()
        assert await reply.read() == b"ok"
        await reply.aclose()
        async with asyncio.timeout(60):
            await ended.wait()


async def test_an_address_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a name has several, as one of IPv6 that leads nowhere."""

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)

    async with served(one) as (client, port):
        full = socket.create_server(("127.0.0.2", port), backlog=0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(full.getsockname())

        async def addresses(*_: Any, **__: Any) -> list[Any]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("127.0.0.2", "127.0.0.1")]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", addresses)
        client._host = "two.example"
        assert await ask(client) == b"ok"
        for each in (full, *waiting):
            each.close()


async def test_who_has_taken_all_hears_of_the_end() -> None:
    """A kept connection is read on, whatever was held back before."""

    async def much(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"x" * 2 * direct.MOST_HELD_BYTES)
        writer.close()

    async with served(much) as (_, port), asyncio.timeout(60):
        _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port)
        connection.transport.write(b"x")
        while not connection._is_paused:
            await asyncio.sleep(0)
        size = 0
        while not connection.is_closed:
            size += len(connection.take())
            await asyncio.sleep(0)
        size += len(connection.take())
        assert size == 2 * direct.MOST_HELD_BYTES
