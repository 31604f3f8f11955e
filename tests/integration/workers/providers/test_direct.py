"""The direct way to a model server: when a connection serves again, and when a request is sent again."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.upstreams.closing import accept_no_more
from workers.providers.http import connection as connection_module
from workers.providers.http import direct
from workers.providers.http.connection import Connection
from workers.providers.http.direct import ClosedWhileIdle, DirectClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@asynccontextmanager
async def served(
    by: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[tuple[DirectClient, int]]:
    """Yield a client of a server, and the port of that."""
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
        await accept_no_more(server)
        for writer in writers:
            writer.transport.abort()


async def ask(client: DirectClient, content: bytes | None = None) -> bytes | None:
    """Return what the server says."""
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


async def connected(port: int) -> Connection:
    """Return a connection to a server of this machine."""
    opened = socket.create_connection(("127.0.0.1", port))
    opened.setblocking(False)
    _, connection = await asyncio.get_running_loop().create_connection(lambda: Connection(opened), sock=opened)
    return connection


async def test_who_reads_slowly_gets_all_and_hears_of_the_end() -> None:
    """Whatever was held back before."""

    async def much(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"x" * 2 * connection_module.MOST_HELD_BYTES)
        writer.close()

    async with served(much) as (_, port), asyncio.timeout(60):
        connection = await connected(port)
        connection.transport.write(b"x")
        while not connection._is_paused:
            await asyncio.sleep(0)
        size = 0
        while data := await connection.read():
            size += len(data)
        assert connection.is_closed
        assert size == 2 * connection_module.MOST_HELD_BYTES


async def test_a_reset_is_heard_of_by_who_reads_slowly() -> None:
    """What a reader does not watch it finds broken when it reads."""
    reset = asyncio.Event()

    async def breaks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"x")
        await reset.wait()
        writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1" + bytes(7))
        writer.transport.abort()

    async with served(breaks) as (_, port), asyncio.timeout(60):
        connection = await connected(port)
        connection.transport.write(b"x")
        while not connection.has_data:
            await asyncio.sleep(0)
        assert await connection.read() == b"x"
        reset.set()
        with pytest.raises(ConnectionResetError):
            await connection.read()


async def test_a_kept_connection_is_watched() -> None:
    """Its end is noticed, though its last reply was read slowly."""
    more, ended = asyncio.Event(), asyncio.Event()

    async def in_two(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nok")
        await more.wait()
        writer.write(b"ok")
        await ended.wait()
        writer.close()

    async with served(in_two) as (client, _), asyncio.timeout(60):
        reply = await client.send("GET", "/", None)
        connection = reply._connection
        assert connection is not None
        assert await reply.read() == b"ok"
        more.set()
        while not connection.has_data:
            await asyncio.sleep(0)
        assert await reply.read() == b"ok"
        await reply.aclose()
        ended.set()
        while not connection.is_closed:
            await asyncio.sleep(0)


async def test_a_server_that_sends_as_fast_as_it_is_read_leaves_others_their_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its bytes need not be waited for, and so nothing else would run."""
    monkeypatch.setattr(connection_module, "READ_BYTES", 1)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    _, connection = await asyncio.get_running_loop().create_connection(lambda: Connection(ours), sock=ours)
    theirs.send(b"x")
    async with asyncio.timeout(60):
        while not connection.has_data:
            await asyncio.sleep(0)
        await connection.read()
        theirs.send(b"x" * 100)
        turns = 0

        def turn() -> None:
            nonlocal turns
            turns += 1
            asyncio.get_running_loop().call_soon(turn)

        turn()
        for _ in range(100):
            assert await connection.read() == b"x"
    assert turns > 10
    connection.transport.abort()
    theirs.close()
