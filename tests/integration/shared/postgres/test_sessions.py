"""Sessions in a real database."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import msgspec
import pytest

from shared.postgres.keys import KeyStore
from shared.postgres.sessions import MessageRow, SessionStore, TurnRows

if TYPE_CHECKING:
    from shared.postgres.database import Database
    from tests.conftest import Eventually

NOW = datetime(2026, 11, 26, tzinfo=UTC)


@pytest.fixture
def sessions(database: Database) -> SessionStore:
    """Return a session store on a fresh database."""
    return SessionStore(database)


def message(role: str, text: str, **fields: Any) -> MessageRow:
    """Return a message as it is stored."""
    json = msgspec.json.encode({"role": role, "content": text}).decode()
    return MessageRow(role=role, message=json, content=text, digest=text.encode()[:16], **fields)


def turn(question: str, answer: str, **fields: Any) -> TurnRows:
    """Return a turn of the internal token that may begin its session."""
    messages = (message("user", question), message("assistant", answer))
    values = {"key_id": None, "request_id": uuid4(), "begins": True, "created_at": NOW, "messages": messages}
    return TurnRows(**(values | fields))


async def write(sessions: SessionStore, session_id: UUID, *turns: TurnRows) -> list[bool]:
    """Write turns in one transaction."""
    async with sessions.writing(session_id) as writer:
        return [await writer.write(each) for each in turns]


async def texts(sessions: SessionStore, session_id: UUID) -> list[str]:
    """Return the texts of a session's history."""
    history = await sessions.history(session_id)
    return [msgspec.json.decode(each.message)["content"] for each in history]


async def test_turns_are_read_in_the_order_they_were_written(sessions: SessionStore) -> None:
    """A session begins with its first turn and knows how many messages it has."""
    chat = uuid4()
    assert await sessions.find(chat) is None
    assert await write(sessions, chat, turn("a", "b")) == [True]
    assert await write(sessions, chat, turn("c", "d", begins=False)) == [True]
    assert await texts(sessions, chat) == ["a", "b", "c", "d"]
    found = await sessions.find(chat)
    assert found is not None
    assert (found.message_count, found.key_id) == (4, None)


async def test_a_turn_that_is_written_twice_stands_once(sessions: SessionStore) -> None:
    """What is known better takes the place of what was known before, also when later turns follow."""
    chat, broken = (
        uuid4(),
        turn("a", "half", messages=(message("user", "a"), message("assistant", "h", state="broken"))),
    )
    later = turn("c", "d")
    await write(sessions, chat, broken, later)
    whole = msgspec.structs.replace(broken, messages=(message("user", "a"), message("assistant", "whole")))
    await write(sessions, chat, whole, later)
    history = await sessions.history(chat)
    assert [each.position for each in history] == [0, 1, 2, 3]
    assert [each.state for each in history] == ["complete"] * 4
    assert await texts(sessions, chat) == ["a", "whole", "c", "d"]


async def test_of_two_keys_that_begin_one_session_at_once_one_gets_it(
    sessions: SessionStore, database: Database
) -> None:
    """A session is of one key alone."""
    keys = [UUID((await KeyStore(database).create(name))[0].id) for name in ("one", "other")]
    chat = uuid4()
    written = await asyncio.gather(*(write(sessions, chat, turn("a", "b", key_id=key)) for key in keys))
    assert sorted(written) == [[False], [True]]
    assert await texts(sessions, chat) == ["a", "b"]


async def test_a_turn_does_not_bring_back_a_session_that_was_deleted(
    sessions: SessionStore, database: Database
) -> None:
    """Only a turn that may begin a session makes one."""
    assert await write(sessions, chat := uuid4(), turn("a", "b", begins=False)) == [False]
    assert await sessions.find(chat) is None
    assert not await database.fetch("SELECT FROM np_claw_messages")


async def test_what_was_edited_is_superseded_and_kept(sessions: SessionStore, database: Database) -> None:
    """A turn after an earlier message takes the place of all that followed it."""
    chat, first = uuid4(), turn("a", "b")
    await write(sessions, chat, first, turn("c", "d"), turn("e", "f"))
    await write(sessions, chat, edited := turn("C", "D", after=(first.request_id, 1)))
    await write(sessions, chat, edited)
    assert await texts(sessions, chat) == ["a", "b", "C", "D"]
    found = await sessions.find(chat)
    assert found is not None
    assert found.message_count == 4
    assert len(await database.fetch("SELECT FROM np_claw_messages WHERE superseded_by = $1", edited.request_id)) == 4


async def test_history_is_the_newest_that_fits(sessions: SessionStore) -> None:
    """The oldest messages are left out where there are too many bytes."""
    chat = uuid4()
    await write(sessions, chat, turn("a", "b"), turn("c", "d"))
    whole = await sessions.history(chat)
    newest = await sessions.history(chat, sum(len(each.message) for each in whole[1:]))
    assert newest == whole[1:]
    assert await sessions.history(chat, most=3) == whole[1:]


async def test_of_what_has_no_room_in_a_history_only_the_last_instructions_stay(sessions: SessionStore) -> None:
    """A client that says what time it is before each question would have all of them read with every request."""
    chat = uuid4()
    for number in range(3):
        told = (message("system", f"first {number}"), message("developer", f"second {number}"))
        await write(sessions, chat, turn("", "", messages=(*told, message("user", "a"), message("assistant", "b"))))
    await write(sessions, chat, turn("c", "d"))
    history = await sessions.history(chat, most=2)
    assert [msgspec.json.decode(each.message)["content"] for each in history] == ["first 2", "second 2", "c", "d"]
    assert [each.place for each in history] == [0, 1, 0, 1]


LONG_TEXTS = {
    "one word": "x" * 3_000_000,
    "words": " ".join(f"{number:x}" for number in range(150_000)),
    "hyphens": "-".join(f"{number:x}" for number in range(150_000)),
    "addresses": " ".join(f"{number:x}.de/{number:x}" for number in range(150_000)),
    "four bytes": " ".join(chr(0x20000 + number % 40_000) + chr(0x20000 + number // 300) for number in range(150_000)),
    "anything": "".join(map(chr, random.Random(7).choices(range(1, 0xD800), k=150_000))),
}


@pytest.mark.parametrize("text", LONG_TEXTS.values(), ids=LONG_TEXTS)
async def test_no_text_is_too_long_to_be_searched(sessions: SessionStore, text: str) -> None:
    """PostgreSQL refuses a tsvector of more than a megabyte, and the row with it."""
    assert await write(sessions, chat := uuid4(), turn(text, "b")) == [True]
    assert [each.role for each in await sessions.history(chat, 100_000_000)] == ["user", "assistant"]


async def test_a_text_with_nul_is_stored_and_found(sessions: SessionStore, database: Database) -> None:
    """PostgreSQL's text holds no NUL: JSON escapes it, and the text that is searched goes without."""
    await write(sessions, chat := uuid4(), turn("before\x00after unusual", "b"))
    assert await texts(sessions, chat) == ["before\x00after unusual", "b"]
    query = "SELECT FROM np_claw_messages WHERE search @@ websearch_to_tsquery('simple', 'unusual')"
    assert len(await database.fetch(query)) == 1


async def test_a_session_that_begins_while_its_key_is_erased_is_not_left_over(
    sessions: SessionStore, database: Database, eventually: Eventually
) -> None:
    """Its turn waits for the erasure, which cannot see it."""
    key, _ = await KeyStore(database).create("erased")
    chat, key_id = uuid4(), UUID(key.id)
    async with database.connection() as connection:
        async with connection.transaction():
            await connection.execute("UPDATE np_claw_api_keys SET erased_at = now() WHERE id = $1", key_id)
            writing = asyncio.create_task(write(sessions, chat, turn("a", "b", key_id=key_id)))

            async def waits() -> bool:
                waiting = await database.fetch("SELECT FROM pg_locks WHERE NOT granted")
                return bool(waiting) or writing.done()

            await eventually(waits)
            await connection.execute("DELETE FROM np_claw_sessions WHERE key_id = $1", key_id)
        assert await writing == [False]
    assert await sessions.find(chat) is None
