"""Calls one upstream over HTTP and reads its replies, for every provider that streams lines.

What an upstream's bytes mean is the provider's business (`LineReader`); what the network does is this module's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

import aiohttp
import httpx

from shared.errors import GatewayError, Unavailable, UpstreamError
from shared.process.tasks import Pauses
from workers.providers.http.client import UpstreamClient, client_of, without_login
from workers.providers.http.direct import ClosedWhileIdle, DirectClient, DirectReply
from workers.providers.http.error_body import Report, from_error_body, http_failure, retry_after_s
from workers.providers.http.lines import LineReader
from workers.providers.http.pieces import ElementSplitter
from workers.providers.http.reply import Reply, network_failure
from workers.providers.http.values import checked
from workers.providers.replies.json_reader import json_reader
from workers.reasons import NETWORK_ERRORS, masked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

T = TypeVar("T")
U = TypeVar("U")

MAX_ERROR_BODY_BYTES = 64 * 1024
# The status of a rejection decides; its body only says more, and one that hangs is not waited for.
ERROR_BODY_BOUND_S = 2.0
# The vectors of 2,048 inputs with 3,072 dimensions each, as numbers of 21 characters, and some room.
MAX_LARGE_BODY_BYTES = 192 * 1024 * 1024
LARGE_BODY_BYTES = 1024 * 1024
"""A reply that is longer is announced before it is read on."""
FETCH_BOUND_S = 10.0
# Shorter values of headers are no secrets.
SECRET_CHARS = 12
# At least as long as workers/providers/http/client.py keeps an idle connection.
IDLE_S = 20.0


large_body: ContextVar[Callable[[], object]] = ContextVar("large_body", default=bool)
"""Is called when the reply to the task's request turns out to be large."""


class StatusError(Exception):
    """The upstream answered with a failure status; `failure` is its class among the gateway's errors.

    `reason` is what it said, for the operator.
    """

    def __init__(self, status: int, report: Report, failure: GatewayError, reason: str) -> None:
        super().__init__(failure.message)
        self.reason = reason
        self.status = status
        self.report = report
        self.failure = failure


class Upstream:
    """One upstream's base URL and its connections.

    Args:
        base_url: what paths are appended to. A name and a password in it are sent as basic authentication, unless there
            is a key.
        api_key: sent as a bearer token.
        headers: sent with every request, for upstreams that take their key in another one.
        connections: how many may be open at once.
    """

    def __init__(
        self, base_url: str, *, api_key: str | None = None, headers: dict[str, str] | None = None, connections: int
    ) -> None:
        self._base_url, login = without_login(base_url.rstrip("/"))
        # Compression gathers what it compresses, and tokens would arrive in lumps.
        self._headers = {"accept-encoding": "identity", "content-type": "application/json", **(headers or {})}
        if api_key or login:
            self._headers["authorization"] = f"Bearer {api_key}" if api_key else login
        secrets = (api_key, login.removeprefix("Basic "), *(headers or {}).values())
        self._secrets = [secret for secret in secrets if len(secret or "") >= SECRET_CHARS]
        self._client = client_of(self._base_url, headers=self._headers, connections=connections)
        self._connections = connections
        self._fresh_client: UpstreamClient | DirectClient | None = None
        self._idle_until = 0.0

    @asynccontextmanager
    async def request(
        self, method: str, path: str, content: bytes | None = None, reader: LineReader | None = None
    ) -> AsyncIterator[Reply]:
        """Send a request; leaving the context closes the connection, unless the reply was read to its end.

        Args:
            method: the HTTP method.
            path: appended to the base URL.
            content: a JSON body.
            reader: once it is `done`, the connection is kept for reuse.

        Raises:
            StatusError: the status is not 2xx.
            Unavailable: no reply came.
        """
        response = await self._send(method, path, content)
        try:
            reply = Reply(response)
            if not response.is_success:
                raise await self._status_error(response, reply)
            yield reply
            # Not a reply that was left in the middle: the rest of it would be taken for the next one.
            if reader is None or reader.done:
                await reply.drain()
                # From now on the pool may hold a connection that the upstream closes meanwhile (`_was_stale`).
                self._idle_until = time.monotonic() + IDLE_S
        finally:
            await response.aclose()

    async def fetch(self, method: str, path: str, content: bytes | None, kind: type[T]) -> T:
        """Return the reply to a small request, decoded as `kind`; within FETCH_BOUND_S seconds.

        Raises:
            UpstreamError: no reply came, or one that is not what was asked for.
        """
        try:
            async with asyncio.timeout(FETCH_BOUND_S), self.request(method, path, content) as reply:
                return json_reader(kind)(await checked(await reply.whole()))
        except TimeoutError:
            raise Unavailable(f"The model server did not answer {path} in time.") from None
        except StatusError as rejection:
            if isinstance(rejection.failure, UpstreamError):
                raise rejection.failure from None
            raise Unavailable(f"The model server answered {path} with status {rejection.status}.") from None

    async def ask(self, path: str, content: bytes, kind: type[T]) -> T:
        """Return the reply to a client's request that is not streamed, decoded as `kind`.

        Raises:
            CallerError: the upstream rejects the request.
            UpstreamError: no reply came, or one that cannot be read.
        """
        try:
            async with self.request("POST", path, content) as reply:
                return json_reader(kind)(await checked(await reply.whole()))
        except StatusError as rejection:
            raise rejection.failure from None

    async def ask_in_pieces(
        self, path: str, content: bytes, name: str, kind: type[T], whole: type[U]
    ) -> tuple[list[T], U]:
        """Return the reply to a client's request whose array `name` may be large, read without holding the event loop.

        Args:
            path: appended to the base URL.
            content: a JSON body.
            name: of the array, a field of the reply.
            kind: of its elements.
            whole: of the reply; its array comes empty.

        Raises:
            CallerError: the upstream rejects the request.
            UpstreamError: no reply came, or one that cannot be read.
        """
        splitter, pause = ElementSplitter(name), Pauses()
        read = json_reader(kind)
        elements: list[T] = []
        size = 0
        try:
            async with self.request("POST", path, content) as reply:
                async for data in reply.pieces(MAX_LARGE_BODY_BYTES):
                    size += len(data)
                    if size > LARGE_BODY_BYTES >= size - len(data):
                        large_body.get()()
                        await asyncio.sleep(0)  # so that it is on its way first
                    for element in splitter.feed(data):
                        elements.append(read(element))
                        await pause()
                return elements, json_reader(whole)(splitter.rest())
        except StatusError as rejection:
            raise rejection.failure from None

    async def close(self) -> None:
        await self._client.close()
        if self._fresh_client is not None:
            await self._fresh_client.close()

    async def _send(self, method: str, path: str, content: bytes | None) -> httpx.Response | DirectReply:
        try:
            return await self._client.send(method, path, content)
        except NETWORK_ERRORS as error:
            if not self._was_stale(error):
                raise network_failure(error, after_content=False) from error
        try:
            return await self._unpooled().send(method, path, content)
        except NETWORK_ERRORS as error:
            raise network_failure(error, after_content=False) from error

    async def _status_error(self, response: httpx.Response | DirectReply, reply: Reply) -> StatusError:
        body = await reply.beginning(MAX_ERROR_BODY_BYTES, ERROR_BODY_BOUND_S)
        report, wait_s = from_error_body(body), retry_after_s(response.headers.get("retry-after"))
        failure = http_failure(response.status_code, report, wait_s)
        reason = masked(report.message or body.decode(errors="replace"), filter(None, self._secrets))
        return StatusError(response.status_code, report, failure, reason)

    def _was_stale(self, error: Exception) -> bool:
        """Return whether a request may have met a connection that the upstream had closed while it was idle.

        Neither httpx nor aiohttp sends a POST again by itself. The connection was closed before the first byte
        of a reply, and an idle one may have been taken: only then the request is sent once more.
        """
        if isinstance(error, ClosedWhileIdle):
            return True
        closed = isinstance(error.__cause__, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)
        connecting = isinstance(error.__cause__, aiohttp.ClientConnectorError)
        return closed and not connecting and time.monotonic() < self._idle_until

    def _unpooled(self) -> UpstreamClient | DirectClient:
        """Return a client that asks for each connection to be closed, so that its next one is fresh.

        The pool of the other one may hold more connections that are stale. It is kept, since building a client
        reads the certificates (about 10 ms).
        """
        if self._fresh_client is None:
            headers = {**self._headers, "connection": "close"}
            self._fresh_client = client_of(self._base_url, headers=headers, connections=self._connections)
        return self._fresh_client
