"""The frame of every endpoint of /v1: an authenticated caller, and the answer of a model."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
from quart import Response, g, request

from api.endpoints.stored.streams import begun_response
from api.gateway import gateway
from api.http.body import read_body
from api.http.errors import openai_error
from api.http.intake import SMALL_BYTES
from api.http.refusal_log import known
from api.http.span_notes import note_failure
from api.http.sse import stream_response
from api.requests.background.request import Unattended
from api.requests.context import RequestContext
from api.requests.queue_headers import client_request_id_of
from shared.dialects.base import ReplyHead
from shared.dialects.table import DIALECTS
from shared.errors import Draining, GatewayError, InvalidRequest, RateLimited
from shared.process.json_values import MOST_VALUES, has_more_values, with_spare_calls
from shared.process.tasks import work_beside
from shared.redis.client import UNREACHABLE
from shared.redis.names import client_request_key, owner_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from api.requests.checked_body import CheckedBody
    from api.requests.lifecycle import InflightRequest
    from shared.types import Endpoint

    _Check = Callable[[bytes], CheckedBody]
    _Adapt = Callable[[RequestContext, bytes], Awaitable[bytes]]


async def authenticated_context(endpoint: str, model: str = "", *, is_admitted: bool = False) -> RequestContext:
    """Authenticate the current request; from here on the usage log has a row for it, however it ends.

    Args:
        endpoint: as the usage log names it.
        model: the one asked for, where it is known before the body is read.
        is_admitted: whether it is for a model: then its admission sees what news of the key were lost.

    Raises:
        Unauthenticated: there is no key, or none that is valid.
        RateLimited: it was refused too often in this minute; its body is not read.
        Overloaded: whether the key is valid cannot be found out now.
    """
    parts = gateway()
    principal = await parts.authenticator.authenticate(request.headers)
    if not is_admitted:
        # Without Redis the key holds as it is cached: who needs nothing else of it is served.
        with suppress(*UNREACHABLE):
            principal = await parts.authenticator.confirmed(parts.redis, principal)
    known()
    context = RequestContext(parts.usage_log, principal, endpoint, g.request_id, model)
    try:
        context.check_refusals()
    except RateLimited:
        if (request.content_length or 0) <= SMALL_BYTES:
            # Small bodies have no intake that drops them, and what is left unread closes the connection.
            await read_body(request)
        raise
    return context


async def answered_by_model(
    endpoint: Endpoint,
    check: _Check,
    most_values: int = MOST_VALUES,
    adapt: _Adapt | None = None,
    dialect: str = "chat",
) -> Response:
    """Answer the current request with what a model says.

    Args:
        endpoint: what is asked of the model.
        check: reads the body; raises what is wrong with it.
        most_values: how many values the body may have.
        adapt: makes OpenAI's body of one in another form, or puts what is stored into it; raises what is wrong with it.
        dialect: that of the body, for a chat.
    """
    context = await authenticated_context(dialect if endpoint == "chat" else endpoint, is_admitted=True)
    try:
        response = await _respond(context, endpoint, check, most_values, adapt)
    except GatewayError as error:
        note_failure(error)
        if context.prepared is not None:
            context.prepared.name_places(error)
        response = openai_error(error)
    response.headers.update(context.response_headers())
    return response


async def _respond(
    context: RequestContext, endpoint: Endpoint, check: _Check, most_values: int, adapt: _Adapt | None
) -> Response:
    parts = gateway()
    with context.refusals():
        try:
            checked = await _checked(context, check, most_values, adapt)
            # It was still sending its body when all others were ended: nobody would end it.
            if parts.drained:
                raise Draining("This gateway process is shutting down.", retry_after_s=1)
            name = client_request_id_of(request.headers)
            inflight = await _begun(context, endpoint, checked)
        finally:
            await context.turn.end()
    if name is not None:
        await _name(context, name)
    if isinstance(inflight, Unattended):
        return begun_response(inflight, is_streamed=checked.stream)
    if checked.stream:
        failure = DIALECTS[checked.dialect].failure(ReplyHead(g.request_id, int(time.time()), checked.model))
        return await stream_response(inflight, parts.settings.head_wait_s, failure)
    return _response(await _parts(inflight))


async def _begun(context: RequestContext, endpoint: Endpoint, checked: CheckedBody) -> InflightRequest | Unattended:
    try:
        return await context.begin(gateway().requests, endpoint, checked)
    except GatewayError as error:
        DIALECTS[checked.dialect].name_params(error)
        raise


async def _name(context: RequestContext, name: str) -> None:
    """Let a request that was admitted be found by the id that its client has given it."""
    parts = gateway()
    key = client_request_key(owner_of(context.key_id), name)
    life_s = int(parts.settings.queue_timeout_s + parts.settings.total_timeout_s)
    with suppress(*UNREACHABLE):
        await parts.redis.set(key, g.request_id, ex=max(1, life_s))


async def whole(inflight: InflightRequest | Unattended) -> bytes:
    """Return the answer to a request that is not streamed; of one that nobody waits for, that it is queued.

    Raises:
        GatewayError: it failed.
    """
    return b"".join(await _parts(inflight))


async def _parts(inflight: InflightRequest | Unattended) -> list[bytes]:
    if isinstance(inflight, Unattended):
        return [inflight.queued()]
    parts = []
    while (chunk := await inflight.read()) is not None:
        parts.append(chunk)
    return parts


def _response(parts: list[bytes]) -> Response:
    """Return the response that has these parts as its body; they are not joined, as all of them may be 100 MB."""
    if len(parts) == 1:
        return Response(parts[0], content_type="application/json")

    async def body() -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    response = Response(body(), content_type="application/json")
    response.content_length = sum(map(len, parts))
    # Quart would cut it after RESPONSE_TIMEOUT, without an error.
    response.timeout = None
    return response


async def _checked(context: RequestContext, check: _Check, most_values: int, adapt: _Adapt | None) -> CheckedBody:
    body = await read_body(request)
    if await has_more_values(body, most_values):
        raise InvalidRequest(
            f"The request body has more than {most_values} JSON values (objects, lists and their elements).",
            code="too_many_values",
        )
    # Only now: from here on the model's name is looked for in it, whatever else is wrong.
    context.body = body
    if adapt is not None:
        context.body = body = await adapt(context, body)
    checked = await work_beside(len(body), lambda: with_spare_calls(lambda: check(body)))
    stored = None if context.prepared is None else context.prepared.stored
    return checked if stored is None else msgspec.structs.replace(checked, stored=stored)
