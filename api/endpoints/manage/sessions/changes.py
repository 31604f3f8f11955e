"""/claw/sessions: rename, archive, delete and branch a session; admin mode of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import UUID

import msgspec

from api.endpoints.manage.guard import body_as, only_arguments
from api.endpoints.manage.sessions.arguments import UNKNOWN, directory, session_uuid, to_shown
from api.gateway import gateway
from api.http.body import json_response
from shared.errors import InvalidRequest, ModelNotAllowed, NotFound
from shared.postgres.session_directory import SessionChange, UnknownMessage
from shared.redis.names import removed_session_key

if TYPE_CHECKING:
    from quart import Response

REMEMBERED_S: Final = 24 * 3600
"""How long a session that was deleted can be deleted again."""


class Branch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a session branches: after this message, else at its end."""

    message_id: UUID | None = None


class Mode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether a session is in admin mode."""

    session_id: UUID
    enabled: bool


async def change_session(session_id: str) -> Response:
    """Rename or archive a session; a title of null is the automatic one again."""
    only_arguments()
    change = await body_as(SessionChange)
    if change.title is msgspec.UNSET and change.archived is msgspec.UNSET:
        raise InvalidRequest("title or archived must be given")
    if isinstance(change.title, str):
        change = msgspec.structs.replace(change, title=_checked(change.title))
    session = await (await directory()).update(session_uuid(session_id), change)
    if session is None:
        raise NotFound(UNKNOWN)
    return json_response(to_shown(session))


async def delete_session(session_id: str) -> Response:
    """Delete a session with its messages. Doing it again within a day is no error."""
    only_arguments()
    wanted, redis = session_uuid(session_id), gateway().redis
    if await (await directory()).remove(wanted):
        await redis.set(removed_session_key(wanted.hex), b"1", ex=REMEMBERED_S)
    elif not await redis.exists(removed_session_key(wanted.hex)):
        raise NotFound(UNKNOWN)
    return json_response({"id": str(wanted), "deleted": True})


async def branch_session(session_id: str) -> Response:
    """Make a new session of the messages up to one; it belongs to the same key."""
    only_arguments()
    wanted = await body_as(Branch)
    try:
        session = await (await directory()).branch(session_uuid(session_id), wanted.message_id)
    except UnknownMessage:
        raise InvalidRequest("There is no message with this id in the session - at `$.message_id`") from None
    if session is None:
        raise NotFound(UNKNOWN)
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


def _checked(title: str) -> str:
    title = title.strip()
    if not any(character.isprintable() and not character.isspace() for character in title) or "\x00" in title:
        raise InvalidRequest("title must have visible characters and no NUL - at `$.title`")
    return title
