"""/claw/sessions: rename, archive, delete and branch a session; admin mode of one."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from api.endpoints.manage.guard import body_as, only_arguments
from api.endpoints.manage.sessions import operations
from api.endpoints.manage.sessions.arguments import UNKNOWN, directory, session_uuid, to_shown
from api.http.body import json_response
from shared.errors import InvalidRequest, ModelNotAllowed, NotFound
from shared.postgres.session_directory import SessionChange

if TYPE_CHECKING:
    from quart import Response


class Branch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The place at which a session branches: after this message, else at its end."""

    message_id: UUID | None = None


class Mode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A session's admin mode, on or off."""

    session_id: UUID
    enabled: bool


async def change_session(session_id: str) -> Response:
    """Rename or archive a session; a title of null is the automatic one again."""
    only_arguments()
    change = await body_as(SessionChange)
    if change.title is msgspec.UNSET and change.archived is msgspec.UNSET:
        raise InvalidRequest("title or archived must be given")
    return json_response(to_shown(await operations.change_session(session_uuid(session_id), change)))


async def delete_session(session_id: str) -> Response:
    """Delete a session with its messages. Doing it again within a day is no error."""
    only_arguments()
    wanted = session_uuid(session_id)
    await operations.delete_session(wanted)
    return json_response({"id": str(wanted), "deleted": True})


async def branch_session(session_id: str) -> Response:
    """Make a new session of the messages up to one; it belongs to the same key."""
    only_arguments()
    wanted = await body_as(Branch)
    session = await operations.branch_session(session_uuid(session_id), wanted.message_id)
    return json_response(to_shown(session), 201)


async def set_mode() -> Response:
    """Put a session whose key is an admin's into admin mode, or any out of it."""
    only_arguments()
    wanted = await body_as(Mode)
    stored = await directory()
    if not await stored.set_admin_mode(wanted.session_id, is_on=wanted.enabled):
        if await stored.find(wanted.session_id) is None:
            raise NotFound(UNKNOWN)
        raise ModelNotAllowed("The key of this session is no admin's: only a key with admin_allowed has admin mode.")
    return json_response({"ok": True})
