"""Responses of the background as streams: their events from a place on, for whoever follows them."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from quart import Response

from api.gateway import gateway
from api.http.sse import KEEP_ALIVE
from shared.redis.client import UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from api.requests.background.request import Unattended

_HEADERS: Final = {"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}


def begun_response(unattended: Unattended, *, is_streamed: bool) -> Response:
    """Return the response to a request that was just admitted: its events as they come, or that it is queued."""
    if is_streamed:
        return events_response(unattended.request_id, -1)
    return Response(unattended.queued(), content_type="application/json")


def events_response(request_id: str, after: int) -> Response:
    """Return a stream of the events of a response after this one (-1: all of them)."""
    parts = gateway()
    events = _events(parts.background.followers.follow(request_id, after, parts.settings.keep_alive_s))
    response = Response(events, content_type="text/event-stream; charset=utf-8", headers=_HEADERS)
    # Quart would cut the stream after RESPONSE_TIMEOUT, without an error.
    response.timeout = None
    return response


async def _events(chunks: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk or KEEP_ALIVE
    except UNREACHABLE:
        # Cut short: whoever follows comes back with the number of his last event.
        return
