"""The only file that builds a streaming response."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from quart import Response

from api.http.errors import error_object
from shared.errors import GatewayError
from shared.openai.reply import error_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from api.requests.lifecycle import Exchange
    from shared.types import Target

KEEP_ALIVE: Final = b": keep-alive\n\n"
_HEADERS: Final = {
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
}


def route_headers(served_by: tuple[Target, int]) -> tuple[tuple[str, str], ...]:
    """The headers that say who answered, and at the how manieth attempt."""
    target, attempts = served_by
    model = target.model if target.model.isascii() and target.model.isprintable() else quote(target.model)
    return ("x-nself-tier", target.tier), ("x-nself-model", model), ("x-nself-attempts", str(attempts))


async def stream_response(exchange: Exchange, head_wait_s: float) -> Response:
    """The response to a streaming request: its head goes out with the first content.

    Args:
        exchange: an admitted request.
        head_wait_s: how long the head waits for content, so that early failures keep their own status.

    Raises:
        GatewayError: the request failed before its head.
    """
    first = await exchange.read_first(head_wait_s)
    response = Response(_events(exchange, first), content_type="text/event-stream; charset=utf-8", headers=_HEADERS)
    response.timeout = None
    return response


async def _events(exchange: Exchange, words: bytes | None) -> AsyncIterator[bytes]:
    """The events; where the head went out before it was known who answers, a comment says so."""
    is_named = exchange.served_by is not None
    try:
        while words is not None:
            if not is_named and (served_by := exchange.served_by) is not None:
                is_named = True
                yield b": %s\n\n" % "; ".join(f"{name}={value}" for name, value in route_headers(served_by)).encode()
            yield words or KEEP_ALIVE
            words = await exchange.read()
    except GatewayError as error:
        yield error_event(error_object(error))
