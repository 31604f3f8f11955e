"""Turns on their way into PostgreSQL: closed by several, recorded by several, stored once."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import msgspec
import pytest

from shared.ids import job_id, new_request_id
from shared.openai.sessions.messages import digest_of
from shared.openai.sessions.turn import TurnHead
from shared.openai.sessions.turn_end import TurnEnd
from shared.postgres.session_directory import SessionDirectory
from shared.postgres.sessions import SessionStore
from shared.redis.names import (
    REJECTED_USAGE_STREAM,
    USAGE_STREAM,
    answer_key,
    lease_key,
    open_requests,
    removed_session_key,
    since_key,
    turn_key,
    turns_key,
)
from shared.usage import Closing, ClosingMode, UsageRecord, finish_now
from workers.recording.turns import TurnLog

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from shared.postgres.database import Database

API = "ab" * 16
PARTIES = {
    "its worker": (ClosingMode.HELD, 1, TurnEnd("complete", b'{"role":"assistant","content":"whole"}')),
    "its api": (ClosingMode.OPEN, 1, TurnEnd("cancelled")),
    "a recorder": (ClosingMode.JUDGED, 0, TurnEnd("broken")),
}


class Turn:
    """A request of a session that is open, with an answer of which a part is kept."""

    def __init__(self, redis: Redis, session: str, question: str = "one") -> None:
        self.redis = redis
        self.session = session
        self.record = UsageRecord(
            request_id=new_request_id(),
            key_id=None,
            endpoint="chat",
            requested_model="m",
            admitted_ms=1_795_000_000_000,
        )
        self.question = question

    async def begin(self) -> None:
        """Leave in Redis what its api and its worker do."""
        message = {"role": "user", "content": self.question}
        head = TurnHead(
            begins=True,
            messages=(msgspec.Raw(msgspec.json.encode(message)),),
            digests=(digest_of(message).hex(),),
        )
        request = self.record.request_id
        await self.redis.set(turn_key(request), self.session.encode() + b" " + msgspec.json.encode(head), ex=60)
        await self.redis.set(answer_key(request), b'{"role":"assistant","content":"part"}', ex=60)
        await self.redis.set(lease_key(self.session), f"internal {request}", ex=60)
        await self.redis.set(since_key(API), 0, ex=60)
        await self.redis.hset(open_requests(API), request, msgspec.json.encode(self.record).decode())  # type: ignore[misc]  # typed for both clients
        await self.redis.set(f"arq:job:{job_id(request, 1)}", b"", ex=60)

    async def close(self, party: str) -> bool:
        """Close it as one of those does who may."""
        closes, attempt, end = PARTIES[party]
        record = msgspec.structs.replace(self.record, attempts=attempt, tier="local", model="m")
        name = job_id(record.request_id, 1)
        return await finish_now(self.redis, Closing.of(record, closes, api_id=API, job_id=name, queue="q", turn=end))


async def texts(database: Database, session: str) -> list[tuple[str, str]]:
    """Return what is stored of a session."""
    history = await SessionStore(database).history(UUID(session))
    return [(msgspec.json.decode(each.message)["content"], each.state) for each in history]


@pytest.mark.parametrize("order", list(itertools.permutations(PARTIES)), ids=" then ".join)
async def test_what_is_known_best_of_a_turn_is_stored_once(
    redis: Redis, database: Database, order: tuple[str, ...]
) -> None:
    """In whatever order the three close its request, and whenever the recorders look."""
    turn, log = Turn(redis, str(uuid4())), TurnLog(redis, database)
    await turn.begin()
    counted = []
    for party in order:
        counted.append((party, await turn.close(party)))
        await asyncio.gather(*(log.store([turn.session]) for _ in range(3)))
    # A verdict gives way to the first that knows; that one stays.
    knowing = next(party for party in order if party != "a recorder")
    expected = {"its worker": ("whole", "complete"), "its api": ("part", "cancelled")}[knowing]
    assert await texts(database, turn.session) == [("one", "complete"), expected]
    assert dict(counted)[knowing]
    assert not await redis.exists(turns_key(turn.session), lease_key(turn.session))


async def test_recorders_that_look_at_once_store_each_turn_once_and_in_order(redis: Redis, database: Database) -> None:
    """While others close: nothing is lost, doubled or turned around."""
    sessions = [str(uuid4()) for _ in range(5)]
    logs = [TurnLog(redis, database) for _ in range(3)]
    for number in range(4):
        turns = [Turn(redis, session, f"question {number}") for session in sessions]
        for turn in turns:
            await turn.begin()
        await asyncio.gather(*(turn.close("its worker") for turn in turns), *(log.store(sessions) for log in logs))
    await logs[0].store(sessions)
    for session in sessions:
        said = [text for text, _ in await texts(database, session)]
        assert said == [text for number in range(4) for text in (f"question {number}", "whole")]
    assert await redis.xlen(USAGE_STREAM) == 2 * 4 * len(sessions)


async def test_a_turn_without_any_answer_is_none(redis: Redis, database: Database) -> None:
    """So that asking again repeats nothing; the session is free."""
    turn = Turn(redis, str(uuid4()))
    await turn.begin()
    await redis.delete(answer_key(turn.record.request_id))
    assert await turn.close("its api")
    await TurnLog(redis, database).store([turn.session])
    assert await SessionStore(database).find(UUID(turn.session)) is None
    assert not await redis.exists(turns_key(turn.session), lease_key(turn.session), turn_key(turn.record.request_id))


UNREADABLE = {"half": b'{"answer":"secret"', "deep": b'{"answer":"secret","head":{"messages":[' + b"[" * 2_000}


@pytest.mark.parametrize("unreadable", UNREADABLE.values(), ids=UNREADABLE)
async def test_a_turn_that_cannot_be_read_holds_up_no_other(
    redis: Redis, database: Database, unreadable: bytes
) -> None:
    """It goes where records go that can never become a row, without what was said."""
    turn = Turn(redis, str(uuid4()))
    await redis.rpush(turns_key(turn.session), unreadable)  # type: ignore[misc]  # typed for both clients
    await turn.begin()
    await turn.close("its worker")
    await TurnLog(redis, database).store([turn.session])
    assert await texts(database, turn.session) == [("one", "complete"), ("whole", "complete")]
    ((_, entry),) = await redis.xrange(REJECTED_USAGE_STREAM)
    assert turn.session.encode() in entry[b"error"]
    assert b"secret" not in b"".join(entry.values())
    assert not await redis.exists(turns_key(turn.session))


async def test_a_deleted_session_does_not_come_back_by_the_request_that_began_it(
    redis: Redis, database: Database
) -> None:
    """Whose turn may be told again by who knows more of it; a later request may begin the session anew."""
    session, log = str(uuid4()), TurnLog(redis, database)
    turn = Turn(redis, session)
    await turn.begin()
    await turn.close("a recorder")
    await log.store([session])
    assert await texts(database, session) == [("one", "complete"), ("part", "broken")]

    async def remember(first: UUID | None) -> None:
        assert first == UUID(turn.record.request_id)
        await redis.set(removed_session_key(UUID(session).hex), first.hex, ex=60)

    directory = SessionDirectory(database)
    assert await directory.remove(UUID(session), remember)
    await turn.close("its worker")
    await log.store([session])
    assert await directory.find(UUID(session)) is None
    assert await redis.exists(turns_key(session)) == 0
    again = Turn(redis, session, "two")
    await again.begin()
    await again.close("its worker")
    await log.store([session])
    assert await texts(database, session) == [("two", "complete"), ("whole", "complete")]
