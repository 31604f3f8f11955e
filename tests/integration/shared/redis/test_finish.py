"""Whose word counts when several parties close one request, in any order, each as often as it likes."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import pytest

from shared.ids import job_id
from shared.queue.placement import BudgetLimits, Mode, PlacementOptions, enqueue
from shared.redis.names import (
    BACKGROUND_API,
    USAGE_STREAM,
    in_progress_key,
    job_key,
    open_requests,
    reservation_field,
    since_key,
    tokens_key,
)
from shared.types import JobDraft
from shared.usage import ORPHANED, Closing, ClosingMode, UsageRecord, finish_now
from tests.integration.shared.queue.sample_jobs import API, KEY, at, budget, claim, draft, put, record_of
from workers.recording.orphans import Janitor
from workers.recording.rows import UsageRow, from_json, unique

if TYPE_CHECKING:
    from redis.asyncio import Redis

HELD = 900
TOKENS, RESERVED = 60_000_000, 20_000_000
TOKENS_BACK = 10_000_000
"""As many as come back in ten seconds."""
LIMITS = BudgetLimits(all_nano_usd=10_000)
PAID = at("paid", "paid", cost_nano_usd=HELD)
PAID_TOO = at("paid too", "paid", cost_nano_usd=HELD)


class Party(NamedTuple):
    """Who closes the request: the attempt it tells of (0: none), and what that cost by its word."""

    closes: ClosingMode
    attempt: int
    cost: int


JUDGE = Party(ClosingMode.JUDGED, 0, HELD)


async def speak(redis: Redis, request: JobDraft, party: Party) -> list[UsageRecord]:
    """Close the request as a party does; return what it is told that it closed."""
    told: list[UsageRecord] = []
    is_judge = party.closes is ClosingMode.JUDGED
    record = msgspec.structs.replace(
        record_of(request),
        tier="paid",
        attempts=party.attempt,
        status=499 if is_judge else 200,
        error_code=ORPHANED if is_judge else None,
        cost_usd=party.cost / 1e9,
        completion_tokens=party.cost * 1_000_000,
        tokens_per_minute=request.tokens_per_minute,
        reserved_tokens=request.reserved_tokens,
    )
    name = job_id(request.request_id, max(1, party.attempt))
    closing = Closing.of(record, party.closes, api_id=API, job_id=name, queue="paid")
    await finish_now(redis, closing, told.append)
    return told


async def open_request(redis: Redis, attempts: int) -> JobDraft:
    """Admit a paid request of an api that Redis has known for long; its last attempt runs, those before were lost."""
    request = draft(tokens_per_minute=TOKENS, reserved_tokens=RESERVED)
    await redis.set(since_key(API), request.admitted_ms - 1000)
    await put(redis, PAID, request=request, limits=LIMITS)
    await claim(redis, "paid")
    if attempts == 2:
        name = job_id(request.request_id, 1)
        await redis.delete(job_key(name), in_progress_key(name))
        await try_again(redis, request, 2)
        await claim(redis, "paid")
    return request


async def try_again(redis: Redis, request: JobDraft, attempt: int) -> None:
    """Put a further attempt into its queue, whatever became of the one before."""
    again = msgspec.structs.replace(request, attempt=attempt)
    assert await enqueue(redis, again, [PAID], options=PlacementOptions(limits=LIMITS, most_waiting=10)) == 0


async def move_on(redis: Redis, request: JobDraft, attempt: int) -> None:
    """Move an attempt to the other queue where it still waits."""
    again = msgspec.structs.replace(request, attempt=attempt)
    options = PlacementOptions(limits=LIMITS, most_waiting=10)
    here, there = (PAID, PAID_TOO) if await redis.zcard("paid") else (PAID_TOO, PAID)
    waits_at = (here.target.queue, job_id(request.request_id, attempt))
    await enqueue(redis, again, [there], options=options, waits_at=waits_at, mode=Mode.MOVE)


async def judge(redis: Redis, request: JobDraft) -> None:
    """Close the request as a recorder does that takes its api for dead: where it is open, for what is reserved."""
    if await redis.hexists(open_requests(API), request.request_id):  # type: ignore[misc]  # redis-py: or awaitable
        held = (await budget(redis)).get(reservation_field(request.request_id), 0)
        await speak(redis, request, Party(ClosingMode.JUDGED, 0, held))


async def lose_everything(redis: Redis, request: JobDraft) -> None:
    """Empty Redis; its api says at its next heartbeat since when Redis knows its requests."""
    await redis.flushall()
    if random.random() < 0.5:
        await redis.set(since_key(API), request.admitted_ms + random.randint(1, 2000))


async def tokens_taken(redis: Redis) -> int:
    """Return how many of the key's tokens are taken now: each comes back in a microsecond."""
    seconds, microseconds = await redis.time()
    return int(int(await redis.get(tokens_key(KEY)) or 0) - seconds * 1_000_000 - microseconds)


async def logged(redis: Redis) -> list[UsageRow]:
    """Return the rows of the usage log, from what is in the stream."""
    return unique(from_json(fields[b"r"]) for _, fields in await redis.xrange(USAGE_STREAM))


def expected(words: list[Party], attempts: int, *, is_lost: bool) -> Party | None:
    """Return the party whose word is the log's in the end: of the last attempt, of the lost one, or the judge."""
    heard: list[Party] = []
    for party in words:
        if party.attempt == attempts:
            return next(found for found in words if found.attempt == attempts)
        # Superseded while its request is open; what was judged or lost is nobody's, until its last attempt speaks.
        if (party is JUDGE and not is_lost) or (party is not JUDGE and (is_lost or JUDGE in heard)):
            heard.append(party)
    return max(heard, key=lambda party: party.attempt, default=None)


@pytest.mark.parametrize("seed", range(150))
async def test_one_row_with_what_the_most_knowing_said_and_the_budget_with_it(redis: Redis, seed: int) -> None:
    """A recorder, an api and one or two workers, in any order and again and again; Redis may have lost its data."""
    random.seed(seed)
    attempts, is_lost = random.choice([1, 2]), random.random() < 0.4
    request = await open_request(redis, attempts)
    if is_lost:
        await lose_everything(redis, request)
    workers = [Party(ClosingMode.HELD, attempt, 100 * attempt + 7) for attempt in range(1, attempts + 1)]
    parties = [JUDGE, Party(ClosingMode.OPEN, attempts, 50), *workers]
    words = random.choices(parties, k=random.randint(1, 8))
    told = [record for party in words for record in await speak(redis, request, party)]
    last = expected(words, attempts, is_lost=is_lost)
    rows = await logged(redis)
    assert [(row.attempts, round(row.cost_usd * 1e9)) for row in rows] == (
        [] if last is None else [(last.attempt, last.cost)]
    )
    # Counted and logged by one of them, whoever is believed in the end.
    assert len(told) == len(rows)
    sums = await budget(redis)
    held_still = HELD if last is None and not is_lost else 0
    assert (sums.get("spent", 0), sums.get("held", 0)) == (0 if last is None else last.cost, held_still)
    if not is_lost:
        # A verdict does not know what was used: what was reserved stays taken.
        knows = last is not None and last is not JUDGE
        taken = last.cost * 1_000_000 if last is not None and knows else RESERVED
        assert taken - TOKENS_BACK < await tokens_taken(redis) <= taken


async def test_what_was_closed_is_not_closed_again(redis: Redis) -> None:
    """Redis has known the request ever since it was admitted: a second word about it is an echo."""
    request = await open_request(redis, 1)
    worker = Party(ClosingMode.HELD, 1, 107)
    for party in (worker, worker, Party(ClosingMode.OPEN, 1, 50), JUDGE):
        await speak(redis, request, party)
    assert await redis.xlen(USAGE_STREAM) == 1
    assert (await budget(redis))["spent"] == 107
    assert await redis.keys("claw:verdict:*") == []


async def test_no_verdict_is_kept_for_ever(redis: Redis) -> None:
    """A day is longer than anybody is silent."""
    request = await open_request(redis, 1)
    await speak(redis, request, JUDGE)
    (key,) = await redis.keys("claw:verdict:*")
    assert 0 < await redis.ttl(key) <= 86_400


@pytest.mark.parametrize("is_lost", [False, True])
@pytest.mark.parametrize("closes", [ClosingMode.HELD, ClosingMode.OPEN])
async def test_an_attempt_of_a_request_that_is_closed_leaves_nothing_reserved(
    redis: Redis, closes: ClosingMode, *, is_lost: bool
) -> None:
    """Its worker closed it and died, and none of that reached its api, which tried it again."""
    request = await open_request(redis, 1)
    if is_lost:
        await lose_everything(redis, request)
    await speak(redis, request, Party(ClosingMode.HELD, 1, 107))
    await try_again(redis, request, 2)
    # Where Redis has known it all the time, it knows that it is closed.
    assert (await budget(redis)).get("held", 0) == (HELD if is_lost else 0)
    await claim(redis, "paid")
    await speak(redis, request, Party(closes, 2, 207))
    assert (await budget(redis)).get("held", 0) == 0
    await speak(redis, request, Party(closes, 1, 107))
    assert (await budget(redis)).get("held", 0) == 0


async def test_an_attempt_after_a_loss_is_closed_for_its_dead_api(redis: Redis) -> None:
    """Its api tried again what Redis had lost and died before its next heartbeat, and so did its worker."""
    request = await open_request(redis, 1)
    await redis.flushall()
    await try_again(redis, request, 2)
    await claim(redis, "paid")
    assert await redis.hexists(open_requests(API), request.request_id)  # type: ignore[misc]  # redis-py: or awaitable
    recorder = Janitor(redis, gone_s=0)
    assert await recorder.look() == 1
    assert await budget(redis) == {"spent": HELD, f"spent:{KEY}": HELD}
    (row,) = await logged(redis)
    assert (row.error_code, row.cost_usd) == (ORPHANED, HELD / 1e9)


async def test_what_is_admitted_after_a_loss_is_closed_for_its_dead_api(redis: Redis) -> None:
    """It died before its next heartbeat, which would have said that it lives."""
    await put(redis, PAID, request=draft(), limits=LIMITS)
    assert await Janitor(redis, gone_s=0).look() == 1
    assert await budget(redis) == {}


async def test_requests_of_the_background_belong_to_no_api(redis: Redis) -> None:
    """There is no process whose end could be that of such a request."""
    request = draft(api_id=BACKGROUND_API)
    await put(redis, PAID, request=request, limits=LIMITS)
    await redis.flushall()
    await try_again(redis, request, 2)
    assert await redis.hkeys(open_requests(BACKGROUND_API)) == [request.request_id.encode()]  # type: ignore[misc]  # redis-py: or awaitable
    assert await Janitor(redis, gone_s=0).look() == 0


@pytest.mark.parametrize("seed", range(300))
async def test_whatever_is_lost_and_whoever_dies_nothing_stays_reserved(redis: Redis, seed: int) -> None:
    """Losses, attempts and words in any order; the recorder, which outlives all, closes what is open in the end."""
    chance = random.Random(seed)
    request = await open_request(redis, 1)
    attempts = 1
    for _ in range(chance.randint(1, 10)):
        step = chance.choice(["loss", "heartbeat", "attempt", "move", "worker", "api", "judge"])
        if step == "loss":
            await redis.flushall()
        elif step == "heartbeat":
            await redis.set(since_key(API), request.admitted_ms + chance.randint(1, 2000), nx=True)
        elif step == "attempt":
            attempts += 1
            await try_again(redis, request, attempts)
            if chance.random() < 0.5:
                await claim(redis, "paid")
        elif step == "move":
            await move_on(redis, request, attempts)
        elif step == "worker":
            attempt = chance.randint(1, attempts)
            await speak(redis, request, Party(ClosingMode.HELD, attempt, 100 * attempt + 7))
        elif step == "api":
            await speak(redis, request, Party(ClosingMode.OPEN, attempts, 50))
        else:
            await judge(redis, request)
    await judge(redis, request)
    sums = await budget(redis)
    assert not [name for name in sums if name.startswith(("r:", "held"))]
    assert sums.get("spent", 0) == sum(round(row.cost_usd * 1e9) for row in await logged(redis))
