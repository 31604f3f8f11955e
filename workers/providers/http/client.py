"""The one place where clients for upstream calls are built: httpx's requests over aiohttp's transport.

httpx's own transport costs five times the CPU per request (docs/decisions/0002-dependencies.md). Requests to model
servers go to the transport directly: httpx's client in front of it would merge URLs, headers and cookies for each.
"""

from __future__ import annotations

import ssl
from base64 import b64encode
from contextvars import ContextVar
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from workers.providers.http.direct import DirectClient, DirectReply
from workers.providers.http.paced import PIECE_BYTES, UPSTREAM_PIECE_BYTES, paced_connector
from workers.providers.http.portions import Portions, decoded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CONNECT_TIMEOUT_S = 10.0
KEEP_ALIVE_S: Final = 15.0
_USER_AGENT: Final = f"python-httpx/{httpx.__version__}"
# No read timeout: callers bound their waits.
_EXTENSIONS: Final = {"timeout": httpx.Timeout(None, connect=CONNECT_TIMEOUT_S).as_dict()}


is_direct: Final = ContextVar("is_direct", default=True)
"""If true, servers without TLS are talked to directly; else all are by way of aiohttp."""


def client_of(base_url: str, *, headers: dict[str, str], connections: int) -> UpstreamClient | DirectClient:
    """Return who sends requests to one upstream: see `UpstreamClient`, also for the errors."""
    if is_direct.get() and httpx.URL(base_url).scheme == "http":
        return DirectClient(base_url, headers={"user-agent": _USER_AGENT, **headers}, connections=connections)
    return UpstreamClient(base_url, headers=headers, connections=connections)


def content_of(response: httpx.Response | DirectReply) -> Callable[[], Awaitable[bytes | None]]:
    """Return what reads a reply's next content, in portions, None at its end; what is compressed is decoded."""
    if isinstance(response, DirectReply):
        read = response.read
    else:
        # The stream itself: that spares each piece httpx's decoder and chunker.
        chunks = aiter(response.stream)  # type: ignore[arg-type]  # asynchronous in a response of AsyncClient
        read = Portions(partial(anext, chunks, None)).read
    coding = response.headers.get("content-encoding", "identity")
    return read if coding.lower() == "identity" else decoded(coding, read)


class UpstreamClient:
    """Sends requests to one upstream. No redirect is followed, and no cookie kept: its clients are many.

    Args:
        base_url: what paths are appended to.
        headers: sent with every request.
        connections: how many may be open at once.

    Raises:
        httpx.InvalidURL: the base URL is none.
    """

    def __init__(self, base_url: str, *, headers: dict[str, str], connections: int) -> None:
        self._base_url = base_url
        _url(base_url)
        self._transport = _transport(headers, connections)

    async def send(self, method: str, path: str, content: bytes | None) -> httpx.Response:
        """Send a request; return its reply, whose body is not read yet and which the caller closes.

        Raises:
            httpx.HTTPError, aiohttp.ClientError, OSError: no reply came.
        """
        request = httpx.Request(method, _url(self._base_url + path), content=content, extensions=_EXTENSIONS)
        return await self._transport.handle_async_request(request)

    async def close(self) -> None:
        await self._transport.aclose()


def foreign_client(*, headers: dict[str, str], connections: int) -> httpx.AsyncClient:
    """Return a client for any server. No redirect is followed, no cookie sent; callers bound their waits.

    Args:
        headers: sent with every request.
        connections: how many may be open at once.
    """
    return httpx.AsyncClient(
        headers=headers,
        transport=_transport({}, connections, PIECE_BYTES),
        timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT_S),
        trust_env=False,
        follow_redirects=False,
    )


@cache
def trusted() -> ssl.SSLContext:
    """Return what every client of this process checks certificates by: reading the authorities takes 25 ms."""
    return httpx.create_ssl_context(trust_env=False)


def _transport(headers: dict[str, str], connections: int, piece_bytes: int = UPSTREAM_PIECE_BYTES) -> AiohttpTransport:
    tls = trusted()

    def session() -> aiohttp.ClientSession:
        connector = paced_connector(piece_bytes, limit=connections, keepalive_timeout=KEEP_ALIVE_S, ssl=tls)
        return aiohttp.ClientSession(
            connector=connector,
            headers={"user-agent": _USER_AGENT, **headers},
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    # Called with the first request: aiohttp wants a running loop.
    return AiohttpTransport(verify=tls, trust_env=False, client=session)


@lru_cache(maxsize=256)
def _url(text: str) -> httpx.URL:
    return httpx.URL(text)


def without_login(url: str) -> tuple[str, str]:
    """Return a URL without the name and the password in it, and these as a header's value; empty where it has none."""
    before, at, host = url.partition("://")[2].partition("/")[0].rpartition("@")
    if not at:
        return url, ""
    plain = url.replace(f"{before}@{host}", host, 1)
    return plain, f"Basic {b64encode(unquote(before).encode()).decode()}"
