"""Answers that come whether or not anybody stays to read them: a page may be loaded anew, or closed."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from quart import g

from api.gateway import gateway
from api.http.sse import event_stream, opened_stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from quart import Response

    from api.requests.context import RequestContext
    from api.requests.lifecycle import InflightRequest

    Begin = Callable[[], Awaitable[tuple[RequestContext, InflightRequest]]]

MOST_UNREAD_BYTES: Final = 4 * 1024 * 1024
"""A slower reader is left; its page goes on with what is kept of the answer (`underway.py`)."""


class Output:
    """The received part of an answer, for the page that asked."""

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._has_more = asyncio.Event()
        self._is_over = False

    def add(self, chunk: bytes) -> None:
        """Add what has come, as far as somebody reads it."""
        if self._is_over:
            return
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size > MOST_UNREAD_BYTES:
            self._chunks.clear()
            self.end()
        self._has_more.set()

    def end(self) -> None:
        """Let nobody wait for more."""
        self._is_over = True
        self._has_more.set()

    async def read(self) -> AsyncIterator[bytes]:
        """Yield what comes, to its end."""
        try:
            while self._chunks or not self._is_over:
                self._has_more.clear()
                while self._chunks:
                    chunk = self._chunks.popleft()
                    self._size -= len(chunk)
                    yield chunk
                if not self._is_over:
                    await self._has_more.wait()
        finally:
            self._is_over = True  # nobody reads any more


async def detached_response(begin: Begin) -> Response:
    """Return the response to a question that is answered to the end, whoever leaves meanwhile.

    Until it is admitted it goes with its client.

    Args:
        begin: admits it.

    Raises:
        GatewayError: it was refused.
    """
    head: asyncio.Future[Mapping[str, str]] = asyncio.get_running_loop().create_future()
    output = Output()
    task = gateway().attend(_answer(begin, head, output), f"chat {g.request_id}")
    try:
        headers = await head
    except asyncio.CancelledError:
        task.cancel()
        raise
    return event_stream(output.read(), headers)


async def _answer(begin: Begin, head: asyncio.Future[Mapping[str, str]], output: Output) -> None:
    try:
        context, inflight = await begin()
        # The head does not wait for content: it is a page of ours that reads errors among the events.
        headers, events = await opened_stream(inflight, 0)
    except BaseException as error:
        # Its client left before it was admitted: nobody waits for the head.
        if head.cancelled():
            raise
        head.set_exception(error)
        return
    head.set_result({**headers, **context.response_headers()})
    try:
        async for chunk in events:
            output.add(chunk)
    finally:
        output.end()
