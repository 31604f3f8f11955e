"""Chats in a database, for tests of what is done with them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import msgspec

from shared.postgres.sessions import MessageRow, SessionStore, TurnRows

if TYPE_CHECKING:
    from shared.postgres.database import Database

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def message(role: str, text: str, **fields: Any) -> MessageRow:
    """Return a message to be stored; `fields` are further ones of its JSON, but for `state`."""
    state = fields.pop("state", "complete")
    json = msgspec.json.encode({"role": role, "content": text, **fields}).decode()
    return MessageRow(role=role, message=json, content=text, digest=text.encode()[:16], state=state)


class Chats:
    """Stores chats, each a minute after the one before."""

    def __init__(self, database: Database) -> None:
        self._store = SessionStore(database)
        self._minutes = 0

    async def add(self, *messages: MessageRow, session_id: UUID | None = None, **fields: Any) -> str:
        """Store a turn, of a new session where none is named; return the session's id."""
        self._minutes += 1
        session_id = session_id or uuid4()
        values: dict[str, Any] = {
            "key_id": None, "request_id": uuid4(), "begins": True, "created_at": NOW + timedelta(minutes=self._minutes),
            "tier_source": "local", "model_used": "smollm2", "latency_ms": 5, "input_tokens": 3, "output_tokens": 4,
        }  # fmt: skip
        async with self._store.writing(session_id) as writer:
            assert await writer.write(TurnRows(**(values | fields), messages=messages))
        return str(session_id)

    async def talk(self, question: str, answer: str = "yes", **fields: Any) -> str:
        """Store a question and its answer."""
        return await self.add(message("user", question), message("assistant", answer), **fields)
