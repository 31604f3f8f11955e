"""Stored chats as their owner looks through them and tidies them up."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple
from uuid import UUID

import msgspec

from shared.ids import new_request_id
from shared.postgres import session_directory_queries as queries
from shared.postgres.session_queries import WRITE_TO_SESSION
from shared.postgres.sessions import MessageState, Session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    import asyncpg

    from shared.postgres.database import Database

MAX_TITLE_CHARS: Final = 200
MOST_PAGE_BYTES: Final = 8 * 1024 * 1024
_EXPORT_PAGE: Final = 50
Title = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TITLE_CHARS)]


MOST_FIRST_WORDS_CHARS: Final = 60


def first_words(text: str) -> str:
    """Return the beginning of a text as a title: whole words on one line, and a mark where more follows."""
    line = " ".join(text.split())
    if len(line) <= MOST_FIRST_WORDS_CHARS:
        return line
    # One character more shows whether the last word is whole.
    words, _, _ = line[: MOST_FIRST_WORDS_CHARS + 1].rpartition(" ")
    return (words or line[:MOST_FIRST_WORDS_CHARS]) + "\N{HORIZONTAL ELLIPSIS}"


class UnknownMessage(Exception):
    """The session has no message of this id."""


class SessionChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change of a session; what is not given stays. A title of None is removed."""

    title: Title | msgspec.UnsetType | None = msgspec.UNSET
    archived: bool | msgspec.UnsetType = msgspec.UNSET


class SessionFilter(NamedTuple):
    """A filter of sessions: a key's, the internal token's, archived ones or not; None: all."""

    key_id: UUID | None = None
    is_internal: bool = False
    is_archived: bool | None = None


class Cursor(NamedTuple):
    """The last session of a page, in the order of their last use."""

    last_message_at: datetime
    session_id: UUID


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A session that a search found, with the message that fits best; None where only its title does."""

    session: Session
    message_id: UUID | None
    excerpt: str


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message as it is stored, with what is known of an answer; `message` is its JSON, `content` its text.

    `reasoning` is what a model thought before it.
    """

    id: UUID
    position: int
    request_id: UUID
    role: str
    message: str
    content: str
    state: MessageState
    superseded_by: UUID | None
    tier_source: str | None
    model_used: str | None
    latency_ms: int | None
    input_tokens: int | None
    output_tokens: int | None
    reasoning: str | None = None
    created_at: datetime


class Untitled(NamedTuple):
    """A session without a title, and how its first turn begins."""

    id: UUID
    key_id: UUID | None
    question: str
    answer: str


class SessionDirectory:
    """The tables of sessions. Every method raises `DatabaseUnavailable` while PostgreSQL cannot answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, session_id: UUID) -> Session | None:
        """Return a session, None where there is none of this id."""
        row = await self._database.fetchrow(queries.FIND_SESSION, session_id)
        return None if row is None else _session(row)

    async def page(self, wanted: SessionFilter, limit: int, after: Cursor | None = None) -> list[Session]:
        """Return sessions, the last used first.

        Args:
            wanted: which ones.
            limit: how many at the most.
            after: the last one of the page before.
        """
        at, last = after or (None, None)
        rows = await self._database.fetch(queries.LIST_SESSIONS, *wanted, at, last, limit)
        return [_session(row) for row in rows]

    async def search(self, wanted: SessionFilter, words: str, limit: int) -> tuple[list[Found], bool]:
        """Return the sessions that fit best, and whether more messages fit than were looked at.

        Args:
            wanted: in which ones.
            words: as a search engine takes them: all of them, "a phrase", or, -without.
            limit: how many at the most.
        """
        rows = await self._database.fetch(queries.SEARCH_SESSIONS, *wanted, words, limit)
        return [_found(row) for row in rows], any(row["is_partial"] for row in rows)

    async def messages(self, session_id: UUID, limit: int, before: UUID | None = None) -> list[Message]:
        """Return messages that were not superseded, the newest first: as many as fit into `MOST_PAGE_BYTES`.

        Args:
            session_id: its id.
            limit: how many at the most.
            before: only those before this message.

        Raises:
            UnknownMessage: there is none of this id.
        """
        place = None if before is None else await self._place(session_id, before)
        rows = await self._database.fetch(queries.LIST_MESSAGES, session_id, place, limit, MOST_PAGE_BYTES)
        return [Message(**row) for row in rows]

    async def every_message(self, session_id: UUID) -> AsyncIterator[Message]:
        """Yield all messages in their order, those that were superseded too."""
        place = -1
        while rows := await self._database.fetch(queries.EXPORT_MESSAGES, session_id, place, _EXPORT_PAGE):
            for row in rows:
                yield Message(**row)
            place = rows[-1]["position"]

    async def update(self, session_id: UUID, change: SessionChange) -> Session | None:
        """Change a session; return it as it then is, None if there is none with this id."""
        has_title = change.title is not msgspec.UNSET
        row = await self._database.fetchrow(
            queries.UPDATE_SESSION,
            *(session_id, has_title, change.title if has_title else None),
            None if change.archived is msgspec.UNSET else change.archived,
        )
        return None if row is None else _session(row)

    async def remove(self, session_id: UUID, remember: Callable[[UUID | None], Awaitable[object]]) -> bool:
        """Remove a session with its messages; False if there is none with this id.

        Args:
            session_id: its id.
            remember: is told, before it is gone, which request began it: its turn may come again, and begins nothing.
        """
        async with self._database.connection() as connection, connection.transaction():
            # A turn that is being written would begin the session anew after it was removed.
            await connection.execute(WRITE_TO_SESSION, session_id)
            if not await connection.fetchval(queries.HAS_SESSION, session_id):
                return False
            await remember(await connection.fetchval(queries.FIRST_REQUEST, session_id))
            await connection.execute(queries.REMOVE_SESSION, session_id)
        return True

    async def set_admin_mode(self, session_id: UUID, *, is_on: bool) -> bool:
        """Put a session into admin mode or out of it; False where it is not there, or its key no admin's."""
        return await self._database.fetchrow(queries.SET_ADMIN_MODE, session_id, is_on) is not None

    async def untitled(self, most: int) -> list[Untitled]:
        """Return sessions that have neither a title nor an automatic one, the last used first."""
        rows = await self._database.fetch(queries.UNTITLED_SESSIONS, most)
        return [Untitled(row["id"], row["key_id"], row["question"] or "", row["answer"] or "") for row in rows]

    async def set_auto_title(self, session_id: UUID, title: str) -> None:
        """Give a session its automatic title, if it has none yet."""
        await self._database.execute(queries.SET_AUTO_TITLE, session_id, title)

    async def branch(self, session_id: UUID, last: UUID | None = None) -> Session | None:
        """Make a new session of the messages of one; return it, None if there is none with this id.

        Args:
            session_id: of which one.
            last: the last message that it shall have, with the results of the calls that it makes; None: all.

        Raises:
            UnknownMessage: the session has no such message.
        """
        new_id = UUID(new_request_id())
        async with self._database.connection() as connection, connection.transaction():
            if await connection.fetchrow(queries.BEGIN_BRANCH, session_id, new_id) is None:
                return None
            end = None
            if last is not None:
                place = await connection.fetchval(queries.FIND_MESSAGE, session_id, last)
                if place is None:
                    raise UnknownMessage
                end = await connection.fetchval(queries.BRANCH_END, session_id, place)
            await connection.execute(queries.COPY_MESSAGES, session_id, new_id, end)
            row = await connection.fetchrow(queries.END_BRANCH, new_id)
        return None if row is None else _session(row)

    async def _place(self, session_id: UUID, message_id: UUID) -> int:
        row = await self._database.fetchrow(queries.FIND_MESSAGE, session_id, message_id)
        if row is None:
            raise UnknownMessage
        return int(row["position"])


def _session(row: asyncpg.Record) -> Session:
    fields = {field: row[field] for field in Session.__struct_fields__}
    return Session(**fields | {"auto_title": row["auto_title"] or first_words(row["opening"] or "") or None})


def _found(row: asyncpg.Record) -> Found:
    return Found(session=_session(row), message_id=row["message_id"], excerpt=row["excerpt"])
