"""Routes of a request, with the text and history that are put before it.

No model is left out for what is stored of a session or known for a question: these can be left out themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from api.admission.thoughts import earlier_thoughts
from api.prompt.knowledge.room import knowledge_room
from api.prompt.sessions.sessions import SessionRequest
from shared.errors import CallerError
from shared.models.abilities import needs_of
from shared.openai.messages import Message
from shared.openai.prompt_size import most_added
from shared.openai.request import ChatBody

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.prompt.headers import PromptHeaders
    from api.prompt.sessions.sessions import OpenSession
    from api.requests.checked_body import CheckedBody
    from api.requests.services import RequestServices
    from api.routing.eligibility import RoutingRequest
    from shared.openai.prompt_size import MostPrompt
    from shared.openai.sessions.history import History
    from shared.openai.sessions.merge import Merged
    from shared.queue.placement import Candidate
    from shared.types import AddedText
    from shared.usage import UsageRecord


def session_request(record: UsageRecord, headers: PromptHeaders, chat: bytes, *, is_anew: bool) -> SessionRequest:
    """Return what a request asks of its session; it does not wait for it."""
    return SessionRequest(
        session_id=headers.session_id or "",
        request_id=record.request_id,
        key_id=record.key_id,
        is_admin_mode=headers.admin,
        body=chat,
        wait_s=0.0,
        is_anew=is_anew,
    )


def routed(
    services: RequestServices, wanted: RoutingRequest, session: OpenSession | None
) -> tuple[list[Candidate], RoutingRequest, History | None]:
    """Return where a request may go, as what, and what its job brings of the session.

    Where no model that may serve it takes images, the images of earlier turns are left out.

    Raises:
        GatewayError: nothing may serve it, whatever is left out.
    """
    if session is None:
        return services.route(wanted), wanted, None
    merged = session.merged
    lengths = (wanted.prompt_tokens, wanted.output_tokens or 0)
    history = merged.to_history(*lengths)
    # What is never left out must fit; all else may count for a budget only.
    most = wanted.most_prompt._replace(tokens=wanted.most_prompt.tokens + history.size_bytes)
    wanted = msgspec.structs.replace(wanted, prompt_tokens=history.fixed_tokens, most_prompt=most)
    if not merged.has_media:
        return services.route(wanted), wanted, history
    try:
        seeing = msgspec.structs.replace(wanted, needs={**_needs(merged), **wanted.needs})
        return services.route(seeing), wanted, history
    except CallerError:
        return services.route(wanted), wanted, merged.to_history(*lengths, keeps_media=False)


async def with_knowledge(
    services: RequestServices, wanted: RoutingRequest, session: OpenSession | None, chat: bytes, key_id: str | None
) -> tuple[tuple[AddedText, ...], RoutingRequest, dict[str, str]]:
    """Return what is put before a request's messages, the request as it is with that, and the response's headers.

    Args:
        services: what it uses.
        wanted: the request with all else that is put before it.
        session: that it continues.
        chat: its body, as a chat.
        key_id: of the key that asks.

    Raises:
        GatewayError: nothing may serve it without knowledge either, or the base cannot be read.
    """
    candidates, alone, history = routed(services, wanted, session)
    earlier_tokens = 0 if history is None else history.tokens
    room = knowledge_room(
        services.router.contexts(candidates), alone.prompt_tokens, wanted.output_tokens, earlier_tokens
    )
    text, headers = await services.additions.known(chat, key_id, room)
    if text is None:
        return (), wanted, headers
    most = wanted.most_prompt
    if wanted.limits.is_limited:
        most = most._replace(tokens=most.tokens + most_added((text,)))
    longer = msgspec.structs.replace(wanted, prompt_tokens=wanted.prompt_tokens + text.tokens, most_prompt=most)
    return (text,), longer, headers


async def most_prompt_of(
    services: RequestServices, checked: CheckedBody, added: Sequence[AddedText], session: OpenSession | None
) -> MostPrompt:
    """Return how much a request can send at the most, with what is put before its messages."""
    most = checked.most_prompt._replace(tokens=checked.most_prompt.tokens + most_added(added))
    # It is Claude's earlier thinking that is billed: where Claude is not served, Redis need not be asked.
    if not services.router.has("anthropic"):
        return most
    earlier = () if session is None else session.call_ids
    return most._replace(thoughts=await earlier_thoughts(services.redis, (*earlier, *checked.call_ids)))


def _needs(merged: Merged) -> dict[str, str]:
    messages = [each.message for turn in (*merged.turns, merged.begun) for each in turn if each.role == "user"]
    body = ChatBody(model="earlier", messages=msgspec.convert(messages, list[Message]))
    return dict.fromkeys(needs_of(body), "messages")
