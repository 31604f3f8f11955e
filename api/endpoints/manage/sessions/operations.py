"""Operations on stored chats, by the management API and by the web UI: rename, archive, delete, branch.

Every function raises `DatabaseUnavailable` while PostgreSQL does not answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from api.endpoints.manage.sessions.arguments import UNKNOWN, directory
from api.gateway import gateway
from shared.errors import InvalidRequest, NotFound
from shared.postgres.session_directory import SessionChange, UnknownMessage
from shared.redis.names import removed_session_key

if TYPE_CHECKING:
    from uuid import UUID

    from shared.postgres.sessions import Session

REMEMBERED_S: Final = 24 * 3600
"""Time in which deleting a session again is no error."""


async def change_session(session_id: UUID, change: SessionChange) -> Session:
    """Change a session, and return it as it then is.

    Raises:
        InvalidRequest: the title is none.
        NotFound: there is no such session.
    """
    if isinstance(change.title, str):
        change = msgspec.structs.replace(change, title=_checked(change.title))
    session = await (await directory()).update(session_id, change)
    if session is None:
        raise NotFound(UNKNOWN)
    return session


async def delete_session(session_id: UUID) -> None:
    """Delete a session with its messages. Doing it again within a day is no error.

    Raises:
        NotFound: there never was such a session, or not lately.
    """
    redis, name = gateway().redis, removed_session_key(session_id.hex)

    async def remember(first: UUID | None) -> None:
        await redis.set(name, b"" if first is None else first.hex, ex=REMEMBERED_S)

    if not await (await directory()).remove(session_id, remember) and not await redis.exists(name):
        raise NotFound(UNKNOWN)


async def branch_session(session_id: UUID, last: UUID | None) -> Session:
    """Make a new session of the messages up to one, or of all; return it.

    Raises:
        InvalidRequest: the session has no such message.
        NotFound: there is no such session.
    """
    try:
        session = await (await directory()).branch(session_id, last)
    except UnknownMessage:
        raise InvalidRequest("There is no message with this id in the session - at `$.message_id`") from None
    if session is None:
        raise NotFound(UNKNOWN)
    return session


def _checked(title: str) -> str:
    title = title.strip()
    if not any(character.isprintable() and not character.isspace() for character in title) or "\x00" in title:
        raise InvalidRequest("title must have visible characters and no NUL - at `$.title`")
    return title
