"""/claw/sessions/{id}/export: a whole session as JSON or Markdown, page by page, however long it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from quart import Response, request

from api.endpoints.manage.guard import only_arguments
from api.endpoints.manage.sessions.arguments import UNKNOWN, directory, session_uuid, to_shown
from api.endpoints.manage.sessions.listing import to_message
from shared.errors import InvalidRequest, NotFound

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.postgres.session_directory import Message

_TYPES: Final = {"json": ("application/json", "json"), "markdown": ("text/markdown; charset=utf-8", "md")}
_STATES: Final = {"cut": "cut", "broken": "broken off", "cancelled": "stopped"}


async def export_session(session_id: str) -> Response:
    """Return a session with all its messages. JSON has those too that were superseded, and each as it was sent."""
    only_arguments("format")
    wanted = request.args.get("format", "json").lower()
    if wanted not in _TYPES:
        raise InvalidRequest(f"format must be one of {', '.join(_TYPES)}.")
    stored = await directory()
    session = await stored.find(session_uuid(session_id))
    if session is None:
        raise NotFound(UNKNOWN)
    messages = stored.every_message(session.id)
    write = to_json if wanted == "json" else to_markdown
    content_type, suffix = _TYPES[wanted]
    return Response(
        write(to_shown(session), messages),
        content_type=content_type,
        headers={"content-disposition": f'attachment; filename="session-{session.id}.{suffix}"'},
    )


async def to_json(session: dict[str, Any], messages: AsyncIterator[Message]) -> AsyncIterator[bytes]:
    """Yield a session as one JSON object."""
    yield b'{"session":' + msgspec.json.encode(session) + b',"messages":['
    separator = b""
    async for message in messages:
        superseded = None if message.superseded_by is None else str(message.superseded_by)
        shown = to_message(message) | {"superseded_by": superseded, "message": msgspec.Raw(message.message.encode())}
        yield separator + msgspec.json.encode(shown)
        separator = b","
    yield b"]}\n"


async def to_markdown(session: dict[str, Any], messages: AsyncIterator[Message]) -> AsyncIterator[bytes]:
    """Yield a session as a page to read."""
    # A heading of Markdown is one line.
    title = " ".join(session["title"].split()) or "Session"
    yield f"# {title}\n\n{session['id']}, {session['created_at']}\n".encode()
    async for message in messages:
        if message.superseded_by is None:
            yield _to_section(message).encode()


def _to_section(message: Message) -> str:
    by = " ".join(part for part in (message.tier_source, message.model_used) if part)
    notes = ", ".join(part for part in (by, _STATES.get(message.state, "")) if part)
    head = f"\n## {message.role.capitalize()}{f' ({notes})' if notes else ''}\n\n"
    calls = [
        f"    {function.get('name')}({function.get('arguments')})"  # four spaces: code, in Markdown
        for call in to_message(message).get("tool_calls", ())
        if isinstance(call, dict) and isinstance(function := call.get("function"), dict)
    ]
    parts = [part for part in (message.content.rstrip("\n"), "\n".join(calls)) if part]
    return head + "\n\n".join(parts) + "\n"
