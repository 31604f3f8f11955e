"""Responses of the background as streams: their events from a place on, for whoever follows them."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from quart import Response, request

from api.gateway import gateway
from api.http.sse import BLANK, KEEP_ALIVE
from api.server.scope import ABORT
from shared.redis.client import UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from api.requests.background.request import Unattended

STALLED_S: Final = 60.0
"""For how long whoever follows may take nothing of what is there."""
_HEADERS: Final = {"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}


def begun_response(unattended: Unattended, *, is_streamed: bool) -> Response:
    """Return the response to a request that was just admitted: its events as they come, or that it is queued."""
    if is_streamed:
        return events_response(unattended.request_id, -1, has_comments=unattended.has_comments)
    return Response(unattended.queued(), content_type="application/json")


def events_response(request_id: str, after: int, *, has_comments: bool) -> Response:
    """Return a stream of the events of a response after this one (-1: all of them).

    Its signs of life are comments, unless the key's parsers take none.
    """
    parts = gateway()
    sign = KEEP_ALIVE if has_comments else BLANK
    chunks = parts.background.followers.follow(request_id, after, parts.settings.keep_alive_s)
    events = unless_stalled(_events(sign, chunks), request.scope[ABORT])  # type: ignore[typeddict-item]  # a key of ours
    response = Response(events, content_type="text/event-stream; charset=utf-8", headers=_HEADERS)
    # Quart would cut the stream after RESPONSE_TIMEOUT, without an error.
    response.timeout = None
    return response


async def unless_stalled(chunks: AsyncGenerator[bytes, None], abort: Callable[[], object]) -> AsyncIterator[bytes]:
    """Yield chunks as they come; end the connection of whoever takes none for `STALLED_S`: he keeps them in memory."""
    loop = asyncio.get_running_loop()
    async with aclosing(chunks):
        async for chunk in chunks:
            stalled = loop.call_later(STALLED_S, abort)
            try:
                yield chunk
            finally:
                stalled.cancel()


async def _events(sign: bytes, chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk or sign
    except UNREACHABLE:
        # Cut short: whoever follows comes back with the number of his last event.
        return
