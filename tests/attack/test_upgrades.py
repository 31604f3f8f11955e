"""A WebSocket upgrade, where there is none."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.fleet import BOTH_WAYS

if TYPE_CHECKING:
    from tests.fleet import Process

pytestmark = BOTH_WAYS

HEADERS = (
    "upgrade: websocket",
    "connection: upgrade",
    "sec-websocket-version: 13",
    "sec-websocket-key: " + "YWFh" * 5 + "YQ==",
)
UPGRADE = "\r\n".join(HEADERS)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/claw/v1/usage", "/", "/v1/realtime?model=" + "x" * 2000])
async def test_an_upgrade_is_an_unknown_url(api: Process, path: str) -> None:
    """404 in the usual form with or without a key, and nothing in the log."""
    address = urlsplit(api.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: a\r\n{UPGRADE}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    body = await reader.read(200)
    writer.close()
    assert head.startswith(b"HTTP/1.1 404")
    assert b'"code":"not_found"' in body + await reader.read()
    assert "Traceback" not in api.log.read_text()
