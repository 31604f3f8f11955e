"""POST /v1/responses."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from quart import g, request

from api.admission.admit import check_rate
from api.endpoints.answer import answered_by_model
from api.gateway import gateway
from api.prompt.headers import SESSION_HEADER
from api.prompt.responses.preparation import StateRequest
from api.requests.checked_body import CheckedBody
from shared.redis.names import owner_of

if TYPE_CHECKING:
    from quart import Response

    from api.requests.context import RequestContext


async def create_response() -> Response:
    """Serve OpenAI's createResponse, streaming and not."""
    check = partial(CheckedBody.of_responses, has_session=SESSION_HEADER in request.headers)
    return await answered_by_model("chat", check, dialect="responses", adapt=_prepared)


async def _prepared(context: RequestContext, body: bytes) -> bytes:
    """Return the body with what it continues before it; it is given back where the request is refused."""
    parts = gateway()

    async def before_reading() -> None:
        # Until the request is admitted or refused: what was read goes on with it till then.
        await context.turn.take(parts.responses.reads.of(owner_of(context.key_id)))
        await check_rate(parts.redis, context.principal)

    has_session = SESSION_HEADER in request.headers
    asks = StateRequest(g.request_id, parts.api_id.hex(), context.key_id, has_session, before_reading)
    context.prepared = prepared = await parts.responses.preparation.prepare(body, asks)
    context.undo = partial(parts.responses.preparation.give_back, prepared, g.request_id)
    return prepared.body
