"""A server for an application of the test's own, on a real socket."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from hypercorn.asyncio import serve

from api.server.asgi import Connections
from api.server.config import ServerConfig
from api.server.hypercorn_server import abort_behind, install

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    App = Callable[[Any, Any, Any], Coroutine[Any, Any, None]]


class Served(NamedTuple):
    """A running server."""

    config: ServerConfig
    port: int

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return a connection to it."""
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, request: bytes) -> bytes:
        """Return all that comes on a connection of its own, until the server closes it."""
        reader, writer = await self.connect()
        writer.write(request)
        answer = await reader.read()
        writer.close()
        return answer


@asynccontextmanager
async def serving(app: App, *, is_direct: bool, keep_alive_s: float = 60) -> AsyncIterator[Served]:
    """Serve `app`, which need not know of lifespans."""

    async def whole(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for _ in range(2):
                kind = (await receive())["type"]
                await send({"type": f"{kind}.complete"})
            return
        await app(scope, receive, send)

    install()
    config = ServerConfig()
    config.bind = ["127.0.0.1:0"]
    config.keep_alive_timeout = keep_alive_s
    config.include_server_header = False
    config.is_direct = is_direct
    config.errorlog = None
    config.max_app_queue_size = 2
    port = config.bind_sockets().insecure_sockets[0].getsockname()[1]
    stop = asyncio.Event()

    async def until_stopped() -> None:
        await stop.wait()
        config.close_idle_connections()

    server = asyncio.create_task(serve(Connections(whole, abort_behind), config, shutdown_trigger=until_stopped))
    try:
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            await asyncio.sleep(0)
        yield Served(config, port)
    finally:
        stop.set()
        config.abort_connections()
        await server


async def read_response(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one response of a known length, or in chunks."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
    headers = dict(line.split(": ", 1) for line in head[1:-2])
    body = b""
    if headers.get("transfer-encoding") == "chunked":
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
    else:
        body = await reader.readexactly(int(headers["content-length"]))
    return int(head[0].split()[1]), headers, body


async def read_body(receive: Any) -> bytes:
    """Return the body of a request."""
    pieces: list[bytes] = []  # put together once: some tests send 64 MiB
    while True:
        message = await receive()
        assert message["type"] == "http.request"
        pieces.append(message["body"])
        if not message["more_body"]:
            return b"".join(pieces)


async def respond(send: Any, body: bytes, status: int = 200, *pieces: bytes) -> None:
    """Send a response of a known length; in chunks where it comes in pieces."""
    headers = [] if pieces else [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": body, "more_body": False})
