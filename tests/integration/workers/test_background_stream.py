"""The events of responses of the background in Redis: whose they are, in which order, how many, and how they end."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from shared.dialects.stored.pending import PendingResponse, ResponseEnd, StoredHead
from shared.ids import job_id, new_request_id
from shared.redis import scripts
from shared.redis.names import (
    BACKGROUND_API,
    USAGE_STREAM,
    background_key,
    done_response_key,
    followed_key,
    job_key,
    open_requests,
    open_response_key,
    removed_response_key,
    response_events_key,
)
from shared.relay import Kind, attempt_key
from shared.usage import Closing, ClosingMode, UsageRecord, finish_now
from workers.relay.background import BackgroundSender

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from tests.conftest import Eventually

SUPERSEDED = -1


async def opened(redis: Redis, attempt: int = 1) -> str:
    """Return the id of a response whose attempt is there."""
    name = new_request_id()
    fields = ("owner", "internal", "attempt", attempt)
    keys = [background_key("internal"), open_response_key(name), response_events_key(name)]
    assert await scripts.run(redis, scripts.BACKGROUND_OPEN, keys, name, 100, 60_000, 10, 100, b"", *fields)
    await redis.delete(response_events_key(name))
    await redis.set(job_key(job_id(name, attempt)), b"job", ex=60)
    await redis.hset(open_requests(BACKGROUND_API), name, "record")  # type: ignore[misc]  # redis-py: or awaitable
    return name


async def append(redis: Redis, name: str, first: int, *texts: str, worker: str = "one", attempt: int = 1) -> int:
    """Append these events, numbered from `first`."""
    payload = b"".join(b"data: %s\n\n" % text.encode() for text in texts)
    keys = [open_response_key(name), response_events_key(name), job_key(job_id(name, attempt)), followed_key(name)]
    arguments = (name, attempt, worker, first, len(texts), 1, payload, 64, 60_000, b"", b"")
    return int(await scripts.run(redis, scripts.BACKGROUND_APPEND, keys, *arguments))


async def said(redis: Redis, name: str) -> list[tuple[int, str]]:
    """Return the entries of a response's stream: the number of the first event of each, and its text."""
    entries = await redis.xrange(response_events_key(name))
    return [
        (int(fields[b"n"]), fields[b"d"].decode().replace("data: ", "").replace("\n\n", "."))
        for _, fields in entries
        if b"d" in fields
    ]


async def test_an_attempt_has_one_worker(redis: Redis) -> None:
    """The first that says so; also one of an earlier attempt, and of one that was given up, appends nothing."""
    name = await opened(redis, attempt=2)
    assert await append(redis, name, 0, "a", attempt=2) == 1
    assert await append(redis, name, 1, "b", attempt=2, worker="two") == SUPERSEDED
    assert await append(redis, name, 1, "b", attempt=1) == SUPERSEDED
    await redis.delete(job_key(job_id(name, 2)))
    assert await append(redis, name, 1, "b", attempt=2) == SUPERSEDED
    assert await said(redis, name) == [(0, "a.")]


async def test_events_stand_once_and_in_order(redis: Redis) -> None:
    """What is appended again is there already; what would leave a gap waits for what is missing."""
    name = await opened(redis)
    assert await append(redis, name, 0, "a", "b") == 2
    assert await append(redis, name, 0, "a", "b") == 2
    assert await append(redis, name, 5, "f") == 2
    assert await append(redis, name, 2, "c") == 3
    assert await said(redis, name) == [(0, "a.b."), (2, "c.")]


async def test_the_oldest_events_go_where_there_are_too_many_bytes(redis: Redis) -> None:
    """The newest stay, however large, and their numbers with them."""
    name = await opened(redis)
    for number in range(6):
        assert await append(redis, name, number, str(number) * 20) == number + 1
    assert [number for number, _ in await said(redis, name)] == [4, 5]
    assert await append(redis, name, 6, "x" * 200) == 7
    assert [number for number, _ in await said(redis, name)] == [6]


async def test_a_sender_appends_again_what_redis_has_lost(redis: Redis, eventually: Eventually) -> None:
    """As after a crash: its last second is gone."""
    name = await opened(redis)
    sender = BackgroundSender(redis, os.urandom(16), on_superseded=_unwanted, finished=_unwanted)
    stream = sender.open(attempt_key(name, 1))
    numbers = iter(range(100))

    def say(count: int) -> None:
        for _ in range(count):
            stream.push(Kind.CONTENT, b"data: %d\n\n" % next(numbers), 1)

    async def there() -> list[int]:
        entries = [text for _, text in await said(redis, name)]
        return [int(part) for text in entries for part in text.split(".") if part]

    async def has(count: int) -> bool:
        return await there() == list(range(count))

    for more, count in ((3, 3), (2, 5), (4, 9)):
        say(more)
        await eventually(partial(has, count))
    newest = (await redis.xrevrange(response_events_key(name), count=2))[-1]
    for entry_id, _ in await redis.xrange(response_events_key(name), min=newest[0]):
        await redis.xdel(response_events_key(name), entry_id)
    await redis.hset(open_response_key(name), "events", newest[1][b"n"].decode())  # type: ignore[misc]  # redis-py: or awaitable
    sender.tick()
    await eventually(partial(has, 9))
    await sender.close()


def _unwanted(_: object) -> None:
    raise AssertionError("nothing is superseded or closed here")


def closing(name: str, body: str, closes: ClosingMode = ClosingMode.OPEN) -> Closing:
    """Return the closing of a response."""
    record = UsageRecord(
        request_id=name, key_id=None, endpoint="responses", requested_model="m", admitted_ms=1, attempts=1
    )
    pending = PendingResponse(
        id=name,
        head=StoredHead(root_id=name, is_background=True),
        created_ms=1,
        input=msgspec.Raw(b"[]"),
        body=msgspec.Raw(body.encode()),
    )
    turn = ResponseEnd(msgspec.json.encode(pending), "", b'data: {"sequence_number":-1,"x":"%s"}\n\n' % body.encode())
    return Closing.of(record, closes, api_id=BACKGROUND_API, job_id=job_id(name, 1), turn=turn)


async def kinds(redis: Redis) -> list[str]:
    """Return what the entries of the usage stream are about."""
    return ["".join(name.decode() for name in fields) for _, fields in await redis.xrange(USAGE_STREAM)]


async def test_a_response_is_closed_once(redis: Redis) -> None:
    """Its first closing ends its events and leaves it for PostgreSQL; the others change nothing."""
    name = await opened(redis)
    await append(redis, name, 0, "a", "b")
    assert await finish_now(redis, closing(name, '"first"'))
    assert not await finish_now(redis, closing(name, '"second"', ClosingMode.HELD))
    assert not await finish_now(redis, closing(name, '"third"'))
    stored: Any = msgspec.json.decode(await redis.get(done_response_key(name)) or b"")
    assert stored["body"] == "first"
    assert await kinds(redis) == ["r", "p"]
    assert await said(redis, name) == [(0, "a.b."), (2, '{"sequence_number":2,"x":""first""}.')]
    assert (await redis.xrevrange(response_events_key(name), count=1))[0][1] == {b"e": b"1"}
    assert await redis.zcard(background_key("internal")) == 0
    assert await redis.exists(open_response_key(name)) == 0
    assert await append(redis, name, 3, "c") == SUPERSEDED


async def test_a_deleted_response_is_not_stored(redis: Redis) -> None:
    """It is logged all the same."""
    name = await opened(redis)
    await redis.set(removed_response_key(name), b"1", ex=60)
    assert await finish_now(redis, closing(name, '"late"'))
    assert await redis.get(done_response_key(name)) is None
    assert await kinds(redis) == ["r"]


@pytest.mark.parametrize("most", [1, 3])
async def test_an_owner_has_a_few_open_responses(redis: Redis, most: int) -> None:
    """One more is not opened; those whose time is over do not count."""

    async def is_open(life_ms: int) -> bool:
        name = new_request_id()
        keys = [background_key("internal"), open_response_key(name), response_events_key(name)]
        given = (name, most, life_ms, 10, 100, b"", "owner", "internal")
        return bool(await scripts.run(redis, scripts.BACKGROUND_OPEN, keys, *given))

    await redis.zadd(background_key("internal"), {f"over {number}": 1 for number in range(5)})
    assert [await is_open(60_000) for _ in range(most + 1)] == [True] * most + [False]
