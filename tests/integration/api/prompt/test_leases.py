"""A session is one request's at a time, over all api processes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from api.prompt.sessions import leases as module
from api.prompt.sessions.leases import BRIEF_BYTES, MOST_WAITING, MOST_WAITING_BYTES, Leases
from shared.errors import Conflict, NotFound, Overloaded
from shared.redis import scripts
from shared.redis.names import NEWS_CHANNEL, lease_key, turns_key
from shared.redis.subscription import next_message, subscription

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from redis.asyncio import Redis

    from tests.conftest import Eventually


class ApiProcess(Leases):
    """The leases of an api process that hears the news."""

    def __init__(self, redis: Redis) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        super().__init__(redis, self.begin)

    def begin(self, work: Coroutine[Any, Any, None], name: str = "") -> None:
        """Run a task of this process."""
        task = asyncio.ensure_future(work)
        task.set_name(name)
        self.tasks.add(task)

    async def listen(self, redis: Redis) -> None:
        """Handle the news for good."""
        async with subscription(redis, NEWS_CHANNEL) as pubsub:
            while True:
                _, message = await next_message(pubsub, 60)
                kind, _, subject = message.decode().partition(" ")
                if kind == "session":
                    self.handle_news(subject)


@pytest.fixture
async def processes(redis: Redis) -> AsyncIterator[list[ApiProcess]]:
    """Two api processes."""
    both = [ApiProcess(redis), ApiProcess(redis)]
    for process in both:
        process.begin(process.listen(redis))
    yield both
    for process in both:
        for task in process.tasks:
            task.cancel()
        await asyncio.gather(*process.tasks, return_exceptions=True)


async def test_each_of_many_that_wait_gets_the_session_once(processes: list[ApiProcess], redis: Redis) -> None:
    """One after the other, told by the one before, long before anybody looks again by himself."""
    session, has_it, most = str(uuid4()), 0, 0

    async def use(number: int) -> None:
        nonlocal has_it, most
        process = processes[number % 2]
        await process.take("key", session, f"request-{number}", 60)
        has_it += 1
        most = max(most, has_it)
        await redis.ping()
        has_it -= 1
        process.give_back(session, f"request-{number}")

    async with asyncio.timeout(module.LOOK_AGAIN_S * 4):
        await asyncio.gather(*map(use, range(12)))
    assert most == 1


async def test_a_lease_is_renewed_until_it_is_given_back(
    processes: list[ApiProcess], redis: Redis, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    """And ends by itself where its process is gone."""
    monkeypatch.setattr(module, "RENEW_S", 0.02)
    session, process = str(uuid4()), processes[0]
    await process.take("key", session, "one", 1)
    process.keep("key", session, "one", 10**15)
    await redis.pexpire(lease_key(session), 2_000)

    async def is_renewed() -> bool:
        return bool(await redis.pttl(lease_key(session)) > 10_000)

    await eventually(is_renewed)
    process.give_back(session, "one")
    assert await processes[1].take("key", session, "two", 60) == []
    monkeypatch.setattr(module, "LEASE_S", 0.05)
    await processes[1].take("key", other := str(uuid4()), "three", 1)
    assert await process.take("key", other, "four", 60) == []


async def test_a_lease_is_not_renewed_for_long_after_its_request(
    processes: list[ApiProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nobody ever closes that: a worker of an older version knows of no sessions."""
    monkeypatch.setattr(module, "RENEW_S", 0.02)
    monkeypatch.setattr(module, "LEASE_S", 0.2)
    monkeypatch.setattr(module, "AFTER_END_S", 0.0)
    session, process = str(uuid4()), processes[0]

    async def request() -> None:
        await process.take("key", session, "one", 1)
        process.keep("key", session, "one", 10**15)

    await asyncio.create_task(request())
    assert await processes[1].take("key", session, "two", 60) == []


async def test_nobody_gives_back_what_is_anothers(
    processes: list[ApiProcess], redis: Redis, eventually: Eventually
) -> None:
    """A request that comes late to it has lost it."""
    session = str(uuid4())
    await processes[0].take("key", session, "one", 1)
    processes[1].give_back(session, "two")
    await eventually(lambda: all(task.done() for task in processes[1].tasks if "give back" in task.get_name()))
    assert await redis.get(lease_key(session)) == b"key one"
    with pytest.raises(NotFound):
        await processes[1].take("other key", session, "two", 1)


async def test_few_of_a_key_may_wait(processes: list[ApiProcess], eventually: Eventually) -> None:
    """One more is refused at once, those of another key are not; and who leaves makes room."""
    process, session, others = processes[0], str(uuid4()), str(uuid4())
    await process.take("key", session, "one", 1)
    await process.take("other", others, "one", 1)
    waiting = [asyncio.ensure_future(process.take("key", session, f"w{number}", 60)) for number in range(MOST_WAITING)]
    await eventually(lambda: process._waiting["key"] == MOST_WAITING)
    with pytest.raises(Conflict):
        await process.take("key", session, "too many", 60)
    another = asyncio.ensure_future(process.take("other", others, "two", 60))
    waiting[0].cancel()
    await eventually(lambda: process._waiting["key"] < MOST_WAITING)
    process.give_back(others, "one")
    assert await another == []
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert not process._waiting["key"]
    assert set(process._events) == set()


@pytest.mark.parametrize("sizes", [(), (BRIEF_BYTES,), (10, BRIEF_BYTES), (1000,) * 500, (2_000_000,) * 8], ids=str)
async def test_turns_that_wait_come_whole_whatever_their_size(
    processes: list[ApiProcess], redis: Redis, sizes: tuple[int, ...]
) -> None:
    """In their order, with the session or right after it."""
    session = str(uuid4())
    turns = [b"%07d" % number + b"x" * (size - 7) for number, size in enumerate(sizes)]
    for turn in turns:
        await redis.rpush(turns_key(session), turn)  # type: ignore[misc]  # redis-py: or awaitable
    assert await processes[0].take("key", session, "request", 1) == turns


async def test_large_turns_have_the_time_that_they_take(
    processes: list[ApiProcess], redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not that of a frozen Redis: on a busy machine they are longer on their way."""
    bound_s, session = 2.5, str(uuid4())
    await redis.rpush(turns_key(session), *[b"x" * 1_000_000] * 3)  # type: ignore[misc]  # redis-py: or awaitable
    monkeypatch.setattr(module, "ADMIT_TIMEOUT_S", bound_s)
    run = scripts.run

    async def slow(client: Redis, script: str, *arguments: Any) -> Any:
        found = await run(client, script, *arguments)
        if sum(len(part) for part in found if isinstance(part, bytes)) > BRIEF_BYTES:
            await asyncio.sleep(1.2 * bound_s)
        return found

    monkeypatch.setattr(scripts, "run", slow)
    assert len(await processes[0].take("key", session, "request", 1)) == 3


async def test_a_session_of_which_too_much_waits_is_refused(processes: list[ApiProcess], redis: Redis) -> None:
    """Nobody reads it into a process; once it is stored, it is served."""
    session = str(uuid4())
    for _ in range(MOST_WAITING_BYTES // 1_000_000 + 1):
        await redis.rpush(turns_key(session), b"x" * 1_000_000)  # type: ignore[misc]  # redis-py: or awaitable
    with pytest.raises(Overloaded) as refusal:
        await processes[0].take("key", session, "request", 1)
    assert refusal.value.code == "session_not_stored"
    processes[0].give_back(session, "request")
    await redis.delete(turns_key(session))
    assert await processes[1].take("key", session, "another", 5) == []
