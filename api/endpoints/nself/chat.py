"""/ai/chat and /claw/v1/chat/completions: questions of nSelf's command lines, which go the way of all requests."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final, Literal
from uuid import uuid4

import msgspec
from quart import Response, g, request

from api.admission.auth import INTERNAL
from api.endpoints.answer import answered_by_model, whole
from api.endpoints.manage.guard import body_as
from api.endpoints.manage.usage import wait_until_recorded
from api.endpoints.nself.session_fields import from_claw_chat, session_id_of
from api.gateway import gateway
from api.http.body import json_response
from api.prompt.headers import SESSION_HEADER
from api.requests.checked_body import CheckedBody
from api.requests.context import RequestContext
from api.routing.key_bounds import KeyBounds
from api.routing.rules import SOURCE_TIERS
from shared.errors import InternalFault
from shared.postgres import stats_queries
from shared.redis.names import owner_of

_TIER_OF: Final = {"local": "local", "free_gemini": "gemini", "gemini": "gemini", "api_key": "paid", "paid": "paid"}


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The body of /ai/chat. The answer is whole, and nSelf's command line says that it wants it so."""

    message: Annotated[str, msgspec.Meta(min_length=1)]
    model: str = "auto"
    preferred_tier: Literal["local", "free_gemini", "gemini", "api_key", "paid"] | None = None
    stream: Literal[False] = False


async def ask_ai() -> Response:
    """Ask one question, as the internal token, and return the answer whole."""
    question = await body_as(Question)
    tier = None if question.preferred_tier is None else _TIER_OF[question.preferred_tier]
    principal = msgspec.structs.replace(INTERNAL, bounds=KeyBounds().within(tier))
    parts = gateway()
    context = RequestContext(parts.usage_log, principal, "chat", g.request_id)
    begun_at = time.monotonic()
    with context.refusals():
        body = {"model": question.model or "auto", "messages": [{"role": "user", "content": question.message}]}
        context.body = msgspec.json.encode(body)
        inflight = await context.begin(parts.requests, "chat", CheckedBody.of_chat(context.body))
    completion = msgspec.json.decode(await whole(inflight))
    if (served_by := inflight.served_by) is None:
        raise InternalFault("The gateway failed on this request.")
    target, _ = served_by
    response = json_response({
        "response": completion["choices"][0]["message"]["content"] or "",
        "tier_source": SOURCE_TIERS[target.tier],
        "model": target.model,
        "latency_ms": round((time.monotonic() - begun_at) * 1000),
    })  # fmt: skip
    response.headers.update(context.response_headers())
    return response


async def create_claw_completion() -> Response:
    """Serve a chat completion as nSelf's newer command line asks for it: sessions by `metadata`, a model if any."""
    return await answered_by_model("chat", CheckedBody.of_chat, adapt=_adapted)


async def _adapted(context: RequestContext, raw: bytes) -> bytes:
    """Return OpenAI's body, and ask for the session by its header, unless the client itself did.

    Raises:
        InvalidRequest: it is wrong; `param` names the field.
        DatabaseUnavailable: the key's last session cannot be found out.
    """
    question = from_claw_chat(raw)
    session_id = None
    if question.session is not None:
        session_id = session_id_of(question.session, owner_of(context.key_id))
    elif question.resumes:
        session_id = await _last_session(context.key_id)
    if session_id is not None and SESSION_HEADER not in request.headers:
        # The context reads its headers from the scope: so there is one way into a session.
        scope: dict[str, Any] = request.scope  # type: ignore[assignment]  # a plain dict, with our own keys
        scope["headers"] = [*scope["headers"], (SESSION_HEADER.encode(), session_id.encode())]
    return question.body


async def _last_session(key_id: str | None) -> str:
    """Return the session that a key used last, a new one where it has none."""
    state = gateway()
    await wait_until_recorded(state.redis)
    rows = await state.database.fetch(stats_queries.LAST_SESSION, key_id)
    return str(rows[0]["id"]) if rows else str(uuid4())
