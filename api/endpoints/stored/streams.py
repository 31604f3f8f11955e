"""Responses of the background as streams: their events from a place on, for whoever follows them."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from quart import Response

from api.gateway import gateway
from api.http.sse import BLANK, KEEP_ALIVE
from shared.redis.client import UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from api.requests.background.request import Unattended

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
    events = _events(sign, parts.background.followers.follow(request_id, after, parts.settings.keep_alive_s))
    response = Response(events, content_type="text/event-stream; charset=utf-8", headers=_HEADERS)
    # Quart would cut the stream after RESPONSE_TIMEOUT, without an error.
    response.timeout = None
    return response


async def _events(sign: bytes, chunks: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk or sign
    except UNREACHABLE:
        # Cut short: whoever follows comes back with the number of his last event.
        return
