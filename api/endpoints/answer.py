"""How every endpoint of /v1 begins, with a caller who has a key, and how those answer that ask a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Response, g, request

from api.gateway import gateway
from api.http.body import read_body
from api.http.errors import openai_error
from api.http.intake import SMALL_BYTES
from api.http.sse import stream_response
from api.requests.context import CheckedBody, RequestContext
from shared.errors import Draining, GatewayError, RateLimited

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.types import Endpoint


async def authenticated_context(endpoint: str, model: str = "") -> RequestContext:
    """Authenticate the current request; from here on the usage log has a row for it, however it ends.

    Args:
        endpoint: as the usage log names it.
        model: the one asked for, where it is known before the body is read.

    Raises:
        Unauthenticated: there is no key, or none that is valid.
        RateLimited: it was refused too often in this minute; its body is not read.
        Overloaded: whether the key is valid cannot be found out now.
    """
    parts = gateway()
    principal = await parts.authenticator.authenticate(request.headers)
    context = RequestContext(parts.usage_log, principal, endpoint, g.request_id, model)
    try:
        context.check_refusals()
    except RateLimited:
        if (request.content_length or 0) <= SMALL_BYTES:
            # Small bodies have no intake that drops them, and what is left unread closes the connection.
            await read_body(request)
        raise
    return context


async def answered_by_model(endpoint: Endpoint, check: Callable[[bytes], CheckedBody]) -> Response:
    """Answer the current request with what a model says.

    Args:
        endpoint: what is asked of the model.
        check: reads the body; raises what is wrong with it.
    """
    context = await authenticated_context(endpoint)
    try:
        response = await _respond(context, endpoint, check)
    except GatewayError as error:
        response = openai_error(error)
    response.headers.update(context.response_headers())
    return response


async def _respond(context: RequestContext, endpoint: Endpoint, check: Callable[[bytes], CheckedBody]) -> Response:
    parts = gateway()
    with context.refusals():
        context.body = await read_body(request)
        checked = check(context.body)
        if parts.drained:
            raise Draining("This gateway process is shutting down.", retry_after_s=1)
        inflight = await context.begin(parts.requests, endpoint, checked)
    if checked.chat is not None and checked.chat.stream:
        return await stream_response(inflight, parts.settings.head_wait_s)
    return Response(await inflight.read_whole(), content_type="application/json")
