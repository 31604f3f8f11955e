"""Heads that ask for what there is not: a WebSocket, a host that is no name."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.fleet import BOTH_WAYS, PATIENCE_S

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


HOSTS = (".", "a..b", ".a:80", "x" * 64, "a." + "x" * 64 + ".b", "\u00df" * 60)


async def answer(api: Process, head: str) -> bytes:
    """Return all that is answered to a head on a connection of its own."""
    address = urlsplit(api.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(f"{head}\r\n\r\n".encode("latin-1"))
    async with asyncio.timeout(PATIENCE_S):
        found = await reader.read()
    writer.close()
    return found


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/claw/v1/usage", "/", "/v1/realtime?model=" + "x" * 2000])
async def test_an_upgrade_is_an_unknown_url(api: Process, path: str) -> None:
    """404 in the usual form with or without a key, and nothing in the log."""
    found = await answer(api, f"GET {path} HTTP/1.1\r\nhost: a\r\n{UPGRADE}")
    assert found.startswith(b"HTTP/1.1 404")
    assert b'"code":"not_found"' in found
    assert "Traceback" not in api.log.read_text()


async def test_a_host_that_is_no_name_is_the_callers_mistake(api: Process) -> None:
    """400 in the usual form, without a key too, and nothing in the log; names and addresses are hosts."""
    for host in HOSTS:
        found = await answer(api, f"GET /health HTTP/1.1\r\nhost: {host}\r\nconnection: close")
        assert found.startswith(b"HTTP/1.1 400"), (host, found)
        assert b'"type":"invalid_request_error"' in found
    for host in ("", "a", "a.", "a_b.example:8080", "[::1]:80", "x" * 63 + ".example"):
        found = await answer(api, f"GET /health HTTP/1.1\r\nhost: {host}\r\nconnection: close")
        assert found.startswith(b"HTTP/1.1 200"), (host, found)
    assert "Traceback" not in api.log.read_text()
