"""Asking in a session, and looking at what is stored of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from shared.postgres.database import Database
from tests.fleet import chat

if TYPE_CHECKING:
    import httpx

    from tests.conftest import Eventually
    from tests.fleet import Fleet

HEADER: Final = "x-nself-session-id"
PATH: Final = "/v1/chat/completions"

Said = tuple[str, str, str]
"""Role, text and state of a message."""


def user(text: str) -> dict[str, Any]:
    """Return what a user says."""
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    """Return what a model says."""
    return {"role": "assistant", "content": text}


async def ask(client: httpx.AsyncClient, session: str, *messages: dict[str, Any], **fields: Any) -> httpx.Response:
    """Return the answer of the counting model to these messages in a session."""
    headers = {HEADER: session} | fields.pop("headers", {})
    return await client.post(PATH, json=chat(messages=list(messages), **fields), headers=headers)


async def stored(fleet: Fleet, session: str) -> list[Said]:
    """Return what is in PostgreSQL of a session, without what is superseded."""
    query = """
        SELECT role, content, state FROM np_claw_messages
        WHERE session_id = $1 AND superseded_by IS NULL ORDER BY position
    """
    async with Database(fleet.database_url) as database:
        return [(row["role"], row["content"], row["state"]) for row in await database.fetch(query, UUID(session))]


async def until_stored(fleet: Fleet, session: str, count: int, eventually: Eventually) -> list[Said]:
    """Return the same, once there are so many."""
    found: list[Said] = []

    async def are_there() -> bool:
        found[:] = await stored(fleet, session)
        return len(found) >= count

    await eventually(are_there)
    assert len(found) == count
    return found
