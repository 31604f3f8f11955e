"""What a request may do to its connection, on a real Hypercorn."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from hypercorn.asyncio import serve

from api.server.asgi import Connections
from api.server.config import ServerConfig
from api.server.hypercorn_server import abort_behind, install
from api.server.scope import ABORT
from cli.up.ports import free_port


async def test_a_connection_that_is_closed_may_be_closed_again() -> None:
    """Its client was faster, or somebody else: closing it once more raises nothing."""
    raised: list[BaseException | None] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        del send
        if scope["type"] == "lifespan":
            await receive()
            return
        for _ in range(2):
            try:
                scope[ABORT]()
            except OSError as error:
                raised.append(error)
            else:
                raised.append(None)
            # The transport closes its socket in the loop's next turn.
            while (await receive())["type"] != "http.disconnect":
                pass

    install()
    config = ServerConfig()
    port = free_port()
    config.bind = [f"127.0.0.1:{port}"]
    stop = asyncio.Event()

    async def until_stopped() -> None:
        await stop.wait()

    server = asyncio.create_task(serve(Connections(app, abort_behind), config, shutdown_trigger=until_stopped))
    try:
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                break
            await asyncio.sleep(0)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
    finally:
        stop.set()
        await server
    assert raised == [None, None]
