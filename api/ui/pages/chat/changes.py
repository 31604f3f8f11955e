"""Tidying up conversations: rename, archive, delete, branch, take along."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import g

from api.endpoints.manage.sessions import export, operations
from api.endpoints.manage.sessions.arguments import session_uuid
from api.gateway import gateway
from api.http.body import json_response
from api.ui import flash
from api.ui.forms import form
from api.ui.links import url
from api.ui.pages.chat.answers import branch_before
from api.ui.pages.chat.conversation import own_session
from api.ui.render import see_other
from shared.errors import InvalidRequest
from shared.postgres.session_directory import MAX_TITLE_CHARS, SessionChange, SessionDirectory

if TYPE_CHECKING:
    from quart import Response


async def rename_chat(session_id: str) -> Response:
    """Give a conversation a title; an empty one is the automatic one again."""
    session = await own_session(session_uuid(session_id))
    title = form().get("title", "").strip()
    if len(title) > MAX_TITLE_CHARS:
        raise InvalidRequest(f"A title has at most {MAX_TITLE_CHARS} characters.", param="title")
    await operations.change_session(session.id, SessionChange(title=title or None))
    flash.add("Renamed.")
    return see_other(url("chat", str(session.id)))


async def archive_chat(session_id: str) -> Response:
    """Put a conversation into the archive, or take it out."""
    session = await own_session(session_uuid(session_id))
    is_archived = form().get("archived") == "true"
    await operations.change_session(session.id, SessionChange(archived=is_archived))
    flash.add("Archived." if is_archived else "Back in the list.")
    return see_other(url("chat") if is_archived else url("chat", str(session.id)))


async def delete_chat(session_id: str) -> Response:
    """Delete a conversation for good."""
    session = await own_session(session_uuid(session_id))
    await operations.delete_session(session.id)
    flash.add("Deleted.")
    return see_other(url("chat"))


async def branch_chat(session_id: str) -> Response:
    """Begin a new conversation with what was said up to a message, or before it with `before`."""
    session = await own_session(session_uuid(session_id))
    message_id = form().get("message_id", "")
    if form().get("before") == "true":
        # A script asks the edited question itself.
        new = await branch_before(session.id, message_id)
        is_begun = await SessionDirectory(gateway().database).find(new) is not None
        return json_response({"id": str(new), "is_begun": is_begun}, 201)
    new = (await operations.branch_session(session.id, session_uuid(message_id))).id
    g.made = str(new)
    flash.add("This is a new conversation that goes on from there. The one before is still in the list.")
    return see_other(url("chat", str(new)))


async def export_chat(session_id: str) -> Response:
    """Give out a conversation as a file."""
    await own_session(session_uuid(session_id))
    return await export.export_session(session_id)
