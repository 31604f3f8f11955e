"""Images at an address of this machine, which is a public one: no worker opens a connection to it."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.attack.servers.own_address import own_address
from tests.fleet import chat

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ADDRESS = f"44.13.{os.getpid() // 250 % 250 + 1}.{os.getpid() % 250 + 1}"
"""Of amateur radio: nobody here has anything to say to it. Another for each process: two runs may be at it at once."""


class Inside:
    """A server that listens at every address of the machine, as those of the operator do.

    Attributes:
        connections: how many there were.
    """

    def __init__(self) -> None:
        self.connections = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer with an image."""
        self.connections += 1
        await reader.read(65536)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 4\r\n\r\n\x89PNG")
        writer.close()


@pytest.fixture
async def inside() -> AsyncIterator[Inside]:
    """Yield a server that listens, at that address too."""
    found = Inside()
    with own_address(ADDRESS):
        async with await asyncio.start_server(found.serve, ADDRESS, 0) as server:
            found.port = server.sockets[0].getsockname()[1]
            yield found


@pytest.mark.parametrize("written", ["{0}", "[::ffff:{0}]", "[64:ff9b::{0}]"])
async def test_an_image_at_an_address_of_this_machine_is_refused(
    client: httpx.AsyncClient, inside: Inside, written: str
) -> None:
    """However it is written; the refusal is that of a private address."""
    url = f"http://{written.format(ADDRESS)}:{inside.port}/a.png"
    content = [{"type": "image_url", "image_url": {"url": url}}]
    reply = await client.post("/v1/chat/completions", json=chat(messages=[{"role": "user", "content": content}]))
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_image_url")
    assert "not one of a public" in reply.json()["error"]["message"]
    assert not inside.connections
