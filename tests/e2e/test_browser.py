"""A page of another origin calls the gateway from a real browser."""

from __future__ import annotations

import asyncio
import json
import shutil
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.upstreams.openai import replies as openai_replies
from tests.upstreams.scripted import sse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.e2e.stack import Key, Stack
    from tests.upstreams.scripted import ScriptedUpstream

pytestmark = [pytest.mark.xdist_group("scripted"), pytest.mark.debian]

BROWSER_BOUND_S = 180
CHROMIUM = shutil.which("chromium") or "chromium"
_OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
    "--no-proxy-server", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-default-apps", "--disable-extensions", "--disable-domain-reliability", "--no-pings",
    "--metrics-recording-only", "--password-store=basic",
)  # fmt: skip
_PAGE = Path(__file__).with_name("browser_page.html")


class PageServer:
    """The page's own server, and what the page has told it.

    Args:
        settings: what the page asks for at its start.
    """

    def __init__(self, settings: dict[str, str]) -> None:
        self.told: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self._settings = settings

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close its connection."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        except asyncio.IncompleteReadError:  # a connection that the browser opened for later
            writer.close()
            return
        method, path, _ = head.split(" ", 2)
        sizes = [line.partition(":")[2] for line in head.split("\r\n") if line.lower().startswith("content-length:")]
        body = (await reader.readexactly(int(sizes[0]))).decode() if sizes else ""
        content_type, reply = "text/plain", b""
        if method == "POST":
            self.told.put_nowait((path, body))
        elif path == "/settings":
            content_type, reply = "application/json", json.dumps(self._settings).encode()
        elif path == "/":
            content_type, reply = "text/html", _PAGE.read_bytes()
        fields = f"content-type: {content_type}\r\ncontent-length: {len(reply)}\r\nconnection: close"
        writer.write(f"HTTP/1.1 200 OK\r\n{fields}\r\n\r\n".encode() + reply)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def opened(page: PageServer, profile: Path) -> AsyncIterator[None]:
    """Yield the page, open in a browser."""
    async with await asyncio.start_server(page.answer, "127.0.0.1", 0) as server:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        with (profile / "log").open("wb") as log:
            browser = await asyncio.create_subprocess_exec(
                *(CHROMIUM, *_OPTIONS, f"--user-data-dir={profile}", "--remote-debugging-port=0", address),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            yield
        finally:
            browser.terminate()
            await browser.wait()


async def test_a_page_of_another_origin_streams_and_reads_headers_and_errors(
    scripted: Stack, scripted_key: Key, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    """The model says the second token only once the page has told its server that it read the first."""
    seen = asyncio.Event()
    upstream.add(
        sse(openai_replies.chunk({"role": "assistant", "content": "first"}), seen, openai_replies.text(" second"))
    )
    page = PageServer({"url": scripted.base_url, "key": scripted_key.secret})
    async with asyncio.timeout(BROWSER_BOUND_S), opened(page, tmp_path):
        path, words = await page.told.get()
        assert path == "/first", words
        assert "second" not in words
        seen.set()
        path, words = await page.told.get()
        assert path == "/end", words
    end: dict[str, Any] = json.loads(words)
    assert end["read"].endswith("data: [DONE]\n\n")
    assert end["read"].index("first") < end["read"].index(" second")
    assert (end["status"], end["refused"], end["code"]) == (200, 401, "invalid_api_key")
    assert end["requestId"].startswith("req_")
    assert int(end["remaining"]) > 0
