"""Requests of dead api processes."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import msgspec
import pytest

from shared.ids import new_request_id
from shared.queue.placement import BudgetLimits
from shared.redis.names import API_SET, USAGE_STREAM, api_key, open_requests
from shared.usage import UsageRecord
from tests.integration.shared.queue import sample_jobs
from tests.integration.shared.queue.sample_jobs import at, budget, claim, put
from workers.recording import orphans
from workers.recording.orphans import Janitor

if TYPE_CHECKING:
    from redis.asyncio import Redis

API = "ab" * 16


GONE_S = 10.0


@pytest.fixture
def clock(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the clock of Redis as the janitor reads it, in seconds: its one element."""
    now = [time.time()]

    async def read() -> tuple[int, int]:
        return int(now[0]), int(now[0] % 1 * 1e6)

    monkeypatch.setattr(redis, "time", read)
    return now


async def open_request(redis: Redis, api_id: str = API) -> UsageRecord:
    """Return a request that an api process has open, admitted three seconds ago."""
    record = UsageRecord(
        request_id=new_request_id(),
        key_id=None,
        endpoint="chat",
        requested_model="auto",
        admitted_ms=int(time.time() * 1000) - 3000,
    )
    await redis.sadd(API_SET, api_id)  # type: ignore[misc]  # redis-py: or awaitable
    await redis.hset(open_requests(api_id), record.request_id, msgspec.json.encode(record).decode())  # type: ignore[misc]  # redis-py: or awaitable
    return record


async def closed_records(redis: Redis) -> list[UsageRecord]:
    """Return what is in the usage stream."""
    return [msgspec.json.decode(fields[b"r"], type=UsageRecord) for _, fields in await redis.xrange(USAGE_STREAM)]


async def test_a_dead_apis_requests_are_closed_on_the_second_look(redis: Redis, clock: list[float]) -> None:
    """Once each, as orphaned, with the time since their admission; then the process is forgotten."""
    opened = await open_request(redis)
    janitor = Janitor(redis, gone_s=GONE_S)
    assert await janitor.look() == 0
    clock[0] += 5
    assert await janitor.look() == 0
    clock[0] += 5
    assert await janitor.look() == 1
    (closed,) = await closed_records(redis)
    assert (closed.request_id, closed.status, closed.error_code) == (opened.request_id, 499, "orphaned")
    assert [(event.what, "a recorder" in event.detail) for event in closed.story] == [("orphaned", True)]
    assert 10_000 <= closed.duration_ms < 60_000
    assert await redis.scard(API_SET) == 0  # type: ignore[misc]  # redis-py: or awaitable
    clock[0] += 10
    assert await janitor.look() == 0
    assert await redis.xlen(USAGE_STREAM) == 1


async def test_an_api_that_left_nothing_open_is_no_warning(
    redis: Redis, clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    """Every restart leaves one behind; one that left requests is a warning."""
    caplog.set_level(logging.INFO)
    await redis.sadd(API_SET, "cd" * 16)  # type: ignore[misc]  # redis-py: or awaitable
    await open_request(redis)
    janitor = Janitor(redis, gone_s=GONE_S)
    await janitor.look()
    clock[0] += 10
    await janitor.look()
    levels = {record.args[0]: record.levelno for record in caplog.records if isinstance(record.args, tuple)}
    assert levels == {"cd" * 16: logging.INFO, API: logging.WARNING}


async def test_a_live_api_keeps_its_requests(redis: Redis, clock: list[float]) -> None:
    """However long they take."""
    await open_request(redis)
    await redis.set(api_key(API), "1")
    janitor = Janitor(redis, gone_s=GONE_S)
    for _ in range(5):
        assert await janitor.look() == 0
        clock[0] += 10
    assert await redis.hlen(open_requests(API)) == 1  # type: ignore[misc]  # redis-py: or awaitable


async def test_an_api_that_comes_back_starts_from_nothing(redis: Redis, clock: list[float]) -> None:
    """Two short absences are not one long one."""
    await open_request(redis)
    janitor = Janitor(redis, gone_s=GONE_S)
    await janitor.look()
    await redis.set(api_key(API), "1")
    clock[0] += 10
    await janitor.look()
    await redis.delete(api_key(API))
    clock[0] += 10
    assert await janitor.look() == 0


async def test_nobody_is_judged_after_the_judge_was_away(
    redis: Redis, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Redis, or asleep: what was seen before does not count."""
    await open_request(redis)
    janitor = Janitor(redis, gone_s=GONE_S)
    await janitor.look()
    with monkeypatch.context() as patch:

        async def fail(*_: object, **__: object) -> None:
            raise ConnectionError

        patch.setattr(redis, "smembers", fail)
        clock[0] += 5
        assert await janitor.look() == 0
    clock[0] += 5
    assert await janitor.look() == 0
    clock[0] += orphans.LONGEST_GAP_S + 1
    assert await janitor.look() == 0
    clock[0] += 10
    assert await janitor.look() == 1


async def test_one_janitor_looks_and_another_follows_it(redis: Redis, clock: list[float]) -> None:
    """The second starts from nothing when the first leaves."""
    await open_request(redis)
    first, second = Janitor(redis, gone_s=GONE_S), Janitor(redis, gone_s=GONE_S)
    for janitor in (first, second):
        assert await janitor.look() == 0
    clock[0] += 10
    assert await second.look() == 0
    await first.leave()
    assert await second.look() == 0
    clock[0] += 10
    assert await first.look() == 0
    assert await second.look() == 1


async def test_many_and_malformed_open_records_are_all_closed(redis: Redis, clock: list[float]) -> None:
    """One that cannot be read goes to the stream as it is, where the recorder rejects it."""
    for _ in range(500):
        await open_request(redis)
    await redis.hset(open_requests(API), "odd", "no json")  # type: ignore[misc]  # redis-py: or awaitable
    janitor = Janitor(redis, gone_s=GONE_S)
    await janitor.look()
    clock[0] += 10
    assert await janitor.look() == 501
    assert await redis.exists(open_requests(API)) == 0


async def test_in_doubt_what_was_reserved_counts_as_spent(redis: Redis, clock: list[float]) -> None:
    """The call of one had begun, and the money may be gone: budget and log say so. Another one only waited."""
    limits = BudgetLimits(all_nano_usd=5000)
    paid = at("paid", "paid", cost_nano_usd=900)
    requests = [(await put(redis, paid, limits=limits))[1] for _ in range(2)]
    (begun,) = await claim(redis, "paid")
    await redis.sadd(API_SET, sample_jobs.API)  # type: ignore[misc]  # redis-py: or awaitable
    janitor = Janitor(redis, gone_s=GONE_S)
    await janitor.look()
    clock[0] += GONE_S
    assert await janitor.look() == 2
    costs = {record.request_id: (record.tier, record.cost_usd) for record in await closed_records(redis)}
    assert costs == {
        request.request_id: ("paid", 900e-9) if request.request_id == begun["request_id"] else ("", 0.0)
        for request in requests
    }
    assert await budget(redis) == {"spent": 900, f"spent:{sample_jobs.KEY}": 900}
