"""Stored chats: np_claw_sessions and np_claw_messages.

A turn is the messages that one request brought and the answer to it. It is written whole, and again where something
better is known of it: under one request id it stands once.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import UUID

import msgspec

from shared.ids import new_request_id
from shared.postgres import session_queries as queries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncpg.pool import PoolConnectionProxy

    from shared.postgres.database import Database

MessageState = Literal["complete", "cut", "broken", "cancelled"]
"""Ends of a message: an answer may have reached its length (or a filter), have broken off, or have been left."""

MOST_HISTORY_BYTES: Final = 4 * 1024 * 1024
"""Bytes of JSON of a session that are read as history: more than the longest context that there is holds."""
MOST_HISTORY_MESSAGES: Final = 5_000
"""Number of its messages: each takes its time to be read, however short it is."""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A session as it is stored. Without a `key_id` it is the internal token's."""

    id: UUID
    key_id: UUID | None
    title: str | None
    auto_title: str | None
    is_admin_mode: bool
    parent_session_id: UUID | None
    message_count: int
    created_at: datetime
    last_message_at: datetime
    archived_at: datetime | None


class StoredMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message of a session; `message` is its JSON, `digest` what a client's own copy is known again by.

    `position` is its place in the session, not counted without gaps, and `place` the one among its request's messages.
    """

    request_id: UUID
    position: int
    place: int
    role: str
    message: str
    digest: bytes
    state: MessageState


class MessageRow(msgspec.Struct, frozen=True, kw_only=True):
    """A message that is to be stored; `content` is its text alone."""

    role: str
    message: str
    content: str
    digest: bytes
    state: MessageState = "complete"


class TurnRows(msgspec.Struct, frozen=True, kw_only=True):
    """A turn that is to be stored.

    Args:
        key_id: whose session it is; None is the internal token.
        request_id: the request's.
        begins: whether the session may be made by it; else it is left out where the session is gone.
        created_at: when the request was admitted.
        after: a message that is stored, as its request's id and its place in that request: what came after it is
            superseded by this turn. None where it only adds.
        messages: in their order; the answer is the last one.
        tier_source, model_used, latency_ms, input_tokens, output_tokens: about the answer.
        reasoning: what its model thought, which no model is told again.
    """

    key_id: UUID | None
    request_id: UUID
    begins: bool
    is_admin_mode: bool = False
    created_at: datetime
    after: tuple[UUID, int] | None = None
    messages: tuple[MessageRow, ...]
    tier_source: str | None = None
    model_used: str | None = None
    latency_ms: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning: str | None = None


class SessionStore:
    """The tables. Every method raises `DatabaseUnavailable` while PostgreSQL cannot answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, session_id: UUID) -> Session | None:
        """Return a session, whosever it is; None where there is none of this id."""
        row = await self._database.fetchrow(queries.FIND_SESSION, session_id)
        return None if row is None else Session(**row)

    async def history(
        self, session_id: UUID, most_bytes: int = MOST_HISTORY_BYTES, most: int = MOST_HISTORY_MESSAGES
    ) -> list[StoredMessage]:
        """Return the newest messages of a session that were not superseded, in their order.

        Args:
            session_id: its id.
            most_bytes: how long their JSON may be together.
            most: how many they may be.
        """
        rows = await self._database.fetch(queries.HISTORY, session_id, most_bytes, most)
        return [StoredMessage(**row) for row in rows]

    @asynccontextmanager
    async def writing(self, session_id: UUID) -> AsyncIterator[SessionWriter]:
        """Write to a session as the only one, in one transaction."""
        async with self._database.connection() as connection, connection.transaction():
            await connection.execute(queries.WRITE_TO_SESSION, session_id)
            yield SessionWriter(connection, session_id)


class SessionWriter:
    """Writes turns to one session, inside a transaction."""

    def __init__(self, connection: PoolConnectionProxy[Any], session_id: UUID) -> None:
        self._connection = connection
        self._session_id = session_id

    async def write(self, turn: TurnRows) -> bool:
        """Write a turn in place of what is stored under its request id.

        Returns:
            False where the session is another key's, or was deleted meanwhile: then nothing is written.
        """
        connection, session_id = self._connection, self._session_id
        if turn.begins:
            await connection.execute(
                queries.BEGIN_SESSION, session_id, turn.key_id, turn.is_admin_mode, turn.created_at
            )
        session = await connection.fetchrow(queries.LOCK_SESSION, session_id)
        if session is None or session["key_id"] != turn.key_id:
            return False
        first = await connection.fetchval(queries.FIRST_POSITION, session_id, turn.request_id)
        await connection.execute(queries.FORGET_REQUEST, session_id, turn.request_id)
        if turn.after is not None:
            await connection.execute(queries.SUPERSEDE, session_id, turn.request_id, *turn.after, first)
        await connection.executemany(queries.ADD_MESSAGE, _rows(session_id, turn, first))
        await connection.execute(queries.COUNT_MESSAGES, session_id, turn.created_at)
        return True


def _rows(session_id: UUID, turn: TurnRows, first: int) -> list[tuple[Any, ...]]:
    counted = (turn.latency_ms, turn.input_tokens, turn.output_tokens)
    about_answer = (turn.tier_source, turn.model_used, *counted, turn.reasoning)
    nothing = (None,) * len(about_answer)
    last = len(turn.messages) - 1
    return [
        (
            *(UUID(new_request_id()), session_id, first + place, turn.request_id),
            # PostgreSQL's texts hold no NUL; in JSON it is escaped.
            *(each.role, each.message, each.content.replace("\x00", "\ufffd"), each.digest, each.state),
            *(about_answer if place == last else nothing),
            turn.created_at,
        )
        for place, each in enumerate(turn.messages)
    ]
