"""Arguments of /claw/sessions, and the form in which a session is shown."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from quart import request

from api.endpoints.manage.usage import INTERNAL_KEY_ID, wait_until_recorded
from api.gateway import gateway
from api.http.times import moment_of
from shared.errors import InvalidRequest, NotFound
from shared.postgres.session_directory import Cursor, SessionDirectory, SessionFilter

if TYPE_CHECKING:
    from shared.postgres.sessions import Session

_ARCHIVED: Final = {"true": True, "false": False, "all": None}
UNKNOWN: Final = "There is no session with this id."


async def directory() -> SessionDirectory:
    """Return the sessions, after a brief wait for the recorder: a script sees the turn that it just asked for."""
    await wait_until_recorded(gateway().redis)
    return SessionDirectory(gateway().database)


def session_uuid(text: str) -> UUID:
    """Parse the id of a session, of a path.

    Raises:
        NotFound: it is none.
    """
    try:
        return UUID(text)
    except ValueError:
        raise NotFound(UNKNOWN) from None


def uuid_argument(name: str) -> UUID | None:
    """Read an id of the query string, None where it is not given.

    Raises:
        InvalidRequest: it is none.
    """
    text = request.args.get(name)
    try:
        return None if text is None else UUID(text)
    except ValueError:
        raise InvalidRequest(f"{name} must be an id.") from None


def filter_arguments() -> SessionFilter:
    """Read which sessions are wanted: `key_id`, `archived`.

    Raises:
        InvalidRequest: one of them cannot be meant.
    """
    archived = request.args.get("archived", "false").lower()
    if archived not in _ARCHIVED:
        raise InvalidRequest(f"archived must be one of {', '.join(_ARCHIVED)}.")
    key_id = request.args.get("key_id")
    if key_id is None or key_id == INTERNAL_KEY_ID:
        return SessionFilter(is_internal=key_id is not None, is_archived=_ARCHIVED[archived])
    try:
        return SessionFilter(UUID(key_id), is_archived=_ARCHIVED[archived])
    except ValueError:
        raise InvalidRequest(f"key_id must be the id of a key, or {INTERNAL_KEY_ID}.") from None


def cursor_argument() -> Cursor | None:
    """Read where a page begins: the `next_cursor` of the one before.

    Raises:
        InvalidRequest: it is none.
    """
    text = request.args.get("cursor")
    return None if text is None else cursor_from(text)


def cursor_from(text: str) -> Cursor:
    """Parse a cursor.

    Raises:
        InvalidRequest: it is none.
    """
    time, _, session_id = text.partition(",")
    try:
        return Cursor(moment_of(time), UUID(session_id))
    except ValueError:
        raise InvalidRequest("cursor must be the next_cursor of a page.") from None


def to_cursor(session: Session) -> str:
    """Write the cursor of the page after a session."""
    return f"{_time(session.last_message_at)},{session.id}"


def to_shown(session: Session) -> dict[str, Any]:
    """Return a session as the API shows it."""
    return {
        "id": str(session.id),
        "key_id": INTERNAL_KEY_ID if session.key_id is None else str(session.key_id),
        "title": session.title or session.auto_title or "",
        "auto_title": session.auto_title or "",
        "is_renamed": session.title is not None,
        # Of nSelf's clients; there is nothing like them here.
        "tags": [],
        "project_id": None,
        "is_admin_mode": session.is_admin_mode,
        "parent_session_id": None if session.parent_session_id is None else str(session.parent_session_id),
        "message_count": session.message_count,
        "archived": session.archived_at is not None,
        "archived_at": None if session.archived_at is None else _time(session.archived_at),
        "created_at": _time(session.created_at),
        "last_message_at": _time(session.last_message_at),
    }


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
