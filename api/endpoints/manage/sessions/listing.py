"""/claw/sessions: which there are, where words stand in them, and what was said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from quart import request

from api.endpoints.manage.guard import integer_argument, only_arguments
from api.endpoints.manage.sessions.arguments import (
    UNKNOWN,
    cursor_argument,
    directory,
    filter_arguments,
    session_uuid,
    to_cursor,
    to_shown,
    uuid_argument,
)
from api.http.body import json_response
from shared.errors import InvalidRequest, NotFound
from shared.postgres.session_directory import UnknownMessage

if TYPE_CHECKING:
    from quart import Response

    from shared.postgres.session_directory import Message

DEFAULT_PAGE: Final = 50
LARGEST_PAGE: Final = 100
DEFAULT_MESSAGES: Final = 20
MOST_QUERY_CHARS: Final = 1000


class _Calls(msgspec.Struct):
    """The parts of a message besides its text."""

    tool_calls: list[Any] | None = None
    tool_call_id: str | None = None


async def list_sessions() -> Response:
    """List the sessions, the last used first. `next_cursor` is the `cursor` of the next page, null on the last."""
    only_arguments("page_size", "cursor", "key_id", "archived")
    limit = integer_argument("page_size", DEFAULT_PAGE, low=1, high=LARGEST_PAGE)
    wanted, after = filter_arguments(), cursor_argument()
    sessions = await (await directory()).page(wanted, limit, after)
    return json_response(
        {
            "sessions": [to_shown(each) for each in sessions],
            "next_cursor": to_cursor(sessions[-1]) if len(sessions) == limit else None,
        }
    )


async def search_sessions() -> Response:
    """List the sessions in which words stand, those that fit best first, with an excerpt of the message that does."""
    only_arguments("q", "page_size", "key_id", "archived")
    limit = integer_argument("page_size", DEFAULT_PAGE, low=1, high=LARGEST_PAGE)
    words = request.args.get("q", "").strip()
    if not 1 <= len(words) <= MOST_QUERY_CHARS or "\x00" in words:
        raise InvalidRequest(f"q must have from 1 to {MOST_QUERY_CHARS} characters, and no NUL.")
    wanted = filter_arguments()
    found, is_partial = await (await directory()).search(wanted, words, limit)
    shown = [
        {
            **to_shown(each.session),
            "message_id": None if each.message_id is None else str(each.message_id),
            "excerpt": each.excerpt,
        }
        for each in found
    ]
    return json_response({"sessions": shown, "is_partial": is_partial})


async def list_messages(session_id: str) -> Response:
    """List the messages of a session, the newest first."""
    only_arguments("limit", "before")
    wanted = session_uuid(session_id)
    limit = integer_argument("limit", DEFAULT_MESSAGES, low=1, high=LARGEST_PAGE)
    before = uuid_argument("before")
    stored = await directory()
    if await stored.find(wanted) is None:
        raise NotFound(UNKNOWN)
    try:
        # One more says whether there are more.
        messages = await stored.messages(wanted, limit + 1, before)
        shown = messages[:limit]
        # Fewer than asked for may be so for their size.
        more = messages[limit:] or (shown and await stored.messages(wanted, 1, shown[-1].id))
    except UnknownMessage:
        raise InvalidRequest("before must be the id of a message of this session.") from None
    return json_response({"messages": [to_message(each) for each in shown], "has_more": bool(more)})


def to_message(message: Message) -> dict[str, Any]:
    """Return a message as the API shows it."""
    try:
        calls = msgspec.json.decode(message.message, type=_Calls)
    except (msgspec.MsgspecError, RecursionError):
        calls = _Calls()
    return {
        "id": str(message.id),
        "role": message.role,
        "content": message.content,
        "state": message.state,
        "request_id": str(message.request_id),
        "tier_source": message.tier_source,
        "model": message.model_used,
        "latency_ms": message.latency_ms,
        "input_tokens": message.input_tokens,
        "output_tokens": message.output_tokens,
        "created_at": message.created_at,
        **({"reasoning_content": message.reasoning} if message.reasoning else {}),
        **({"tool_calls": calls.tool_calls} if calls.tool_calls else {}),
        **({"tool_call_id": calls.tool_call_id} if calls.tool_call_id else {}),
    }
