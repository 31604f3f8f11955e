"""The official client, with HTTP transports that hold every reply against OpenAI's rules."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import httpx2  # what the official client is built on
from openai import AsyncOpenAI, OpenAI

from tests.e2e.openai_rules import faults_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

_TIMEOUT_S = 100


class _Reply:
    """What is read of one reply; judged once, when it is closed."""

    def __init__(self, request: httpx2.Request, response: httpx2.Response, faults: list[str]) -> None:
        self.read = b""
        self._request = request
        self._response = response
        self._faults = faults
        self._judged = False

    def judge(self) -> None:
        if self._judged:
            return
        self._judged = True
        request, response = self._request, self._response
        if not response.headers.get("x-request-id", "").startswith("req_"):
            self._faults.append(f"{request.method} {request.url.path}: no x-request-id")
        content_type = response.headers.get("content-type", "")
        self._faults += faults_of(request.url.path, response.status_code, content_type, request.content, self.read)


class _SyncBody(httpx2.SyncByteStream):
    def __init__(self, stream: httpx2.SyncByteStream, reply: _Reply) -> None:
        self._stream = stream
        self._reply = reply

    def __iter__(self) -> Iterator[bytes]:
        for data in self._stream:
            self._reply.read += data
            yield data

    def close(self) -> None:
        self._stream.close()
        self._reply.judge()


class _AsyncBody(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, reply: _Reply) -> None:
        self._stream = stream
        self._reply = reply

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for data in self._stream:
            self._reply.read += data
            yield data

    async def aclose(self) -> None:
        await self._stream.aclose()
        self._reply.judge()


class CheckedTransport(httpx2.HTTPTransport):
    """A transport that appends to `faults` what is wrong with the replies."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__()
        self._faults = faults

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send the request; its reply will be judged."""
        response = super().handle_request(request)
        assert isinstance(response.stream, httpx2.SyncByteStream)
        response.stream = _SyncBody(response.stream, _Reply(request, response, self._faults))
        return response


class AsyncCheckedTransport(httpx2.AsyncHTTPTransport):
    """A transport that appends to `faults` what is wrong with the replies."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__(limits=httpx2.Limits(max_connections=None))
        self._faults = faults

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send the request; its reply will be judged."""
        response = await super().handle_async_request(request)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _AsyncBody(response.stream, _Reply(request, response, self._faults))
        return response


@contextmanager
def checked_client(base_url: str, secret: str) -> Iterator[OpenAI]:
    """Yield the official client; every reply that it gets must keep OpenAI's rules."""
    faults: list[str] = []
    http = httpx2.Client(transport=CheckedTransport(faults))
    with OpenAI(base_url=base_url, api_key=secret, max_retries=0, timeout=_TIMEOUT_S, http_client=http) as client:
        yield client
    assert faults == [], faults


@asynccontextmanager
async def checked_async_client(base_url: str, secret: str) -> AsyncIterator[AsyncOpenAI]:
    """Yield the official client for asyncio; every reply that it gets must keep OpenAI's rules."""
    faults: list[str] = []
    http = httpx2.AsyncClient(transport=AsyncCheckedTransport(faults))
    async with AsyncOpenAI(
        base_url=base_url, api_key=secret, max_retries=0, timeout=_TIMEOUT_S, http_client=http
    ) as client:
        yield client
    assert faults == [], faults
