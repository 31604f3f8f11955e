"""The only file that builds a streaming response."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from quart import Response

from api.http.errors import error_object
from api.http.headers import place_headers, route_headers
from api.http.span_notes import note_failure
from shared.errors import GatewayError
from shared.openai.reply import error_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from api.requests.lifecycle import InflightRequest
    from shared.dialects.base import StreamFailure

KEEP_ALIVE: Final = b": keep-alive\n\n"
BLANK: Final = b"\n\n"
"""The same for a key whose streams have no comments: to every parser it is the end of no event."""
_HEADERS: Final = {
    "cache-control": "no-cache, no-transform",  # a proxy that compresses would gather events
    "x-accel-buffering": "no",  # nginx would gather events otherwise
}


async def stream_response(
    inflight: InflightRequest, head_wait_s: float, failure: StreamFailure | None = None
) -> Response:
    """Return the response to a streaming request: its head goes out with the first content.

    Args:
        inflight: an admitted request.
        head_wait_s: how long the head waits for content, so that early failures keep their own status.
        failure: says that the request failed where the head went out before; without it, a chat's error object does.

    Raises:
        GatewayError: the request failed before its head.
    """
    headers, events = await opened_stream(inflight, head_wait_s, failure)
    return event_stream(events, headers)


async def opened_stream(
    inflight: InflightRequest, head_wait_s: float, failure: StreamFailure | None = None
) -> tuple[dict[str, str], AsyncIterator[bytes]]:
    """Return headers and events of the same response, for whoever sends them otherwise; it raises the same."""
    first = await _read_first(inflight, head_wait_s)
    # The place that it had is not its place any more once it has been served.
    place = inflight.place if inflight.served_by is None else None
    headers = _HEADERS if place is None else _HEADERS | place_headers(place)
    return headers, _events(inflight, first, failure)


def event_stream(events: AsyncIterator[bytes], headers: Mapping[str, str]) -> Response:
    """Return a response that goes on for as long as there are events."""
    response = Response(events, content_type="text/event-stream; charset=utf-8", headers=dict(headers))
    # Quart would cut the stream after RESPONSE_TIMEOUT, without an error.
    response.timeout = None
    return response


async def _read_first(inflight: InflightRequest, head_wait_s: float) -> bytes | None:
    """Read, and return b"" only after `head_wait_s` seconds without content."""
    is_due = False

    def head_due() -> None:
        nonlocal is_due
        is_due = True
        inflight.tick()

    timer = asyncio.get_running_loop().call_later(head_wait_s, head_due)
    try:
        while True:
            chunk = await inflight.read()
            if chunk != b"" or is_due:
                return chunk
    finally:
        timer.cancel()


def _comment(inflight: InflightRequest) -> bytes:
    """Return what is said while there is nothing to say: the place in the queue where the request waits."""
    place = inflight.place
    if place is None or inflight.served_by is not None:
        return KEEP_ALIVE
    eta = "" if place.eta_s is None else f" eta_s={place.eta_s}"
    return f": queued position={place.position}{eta}\n\n".encode()


async def _events(
    inflight: InflightRequest, chunk: bytes | None, failure: StreamFailure | None
) -> AsyncIterator[bytes]:
    """Yield the events; a comment names who answers where the head went out before that was known."""
    has_comments = inflight.principal.stream_comments
    is_named = inflight.served_by is not None or not has_comments
    try:
        while chunk is not None:
            if not is_named and (served_by := inflight.served_by) is not None:
                is_named = True
                named = "; ".join(f"{name}={value}" for name, value in route_headers(*served_by).items())
                yield b": %s\n\n" % named.encode()
            if failure is not None:
                failure.count(chunk)
            yield chunk or (_comment(inflight) if has_comments else BLANK)
            chunk = await inflight.read()
    except GatewayError as error:
        note_failure(error)
        # The head has gone out with 200, so the error is an event.
        yield _failed(inflight, error, failure)


def _failed(inflight: InflightRequest, error: GatewayError, failure: StreamFailure | None) -> bytes:
    if failure is None:
        return error_event(error_object(error))
    served_by = inflight.served_by
    return failure.events(error_object(error), None if served_by is None else served_by[0].model)
