"""Tokens a minute of a key: the bucket against a model of it, and what admissions and ends do to it."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.admission.admit import Admitted, admit
from api.admission.auth import Principal
from api.admission.token_limit import TokensRateLimited
from shared.errors import GatewayError, Overloaded, RateLimited
from shared.ids import job_id
from shared.queue.placement import PlacementOptions
from shared.redis import scripts
from shared.redis.client import close, connect
from shared.redis.names import rate_key, since_key, tokens_key
from shared.usage import Closing, ClosingMode, UsageRecord, finish_now
from tests.integration.shared.queue.sample_jobs import API, KEY, at, draft

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from shared.types import JobDraft

MINUTE_US = 60_000_000
LIMIT = 600
BUCKET = tokens_key(KEY)
names = count()
_by_itself = scripts._script("tokens")
TAKE = (
    f"{_by_itself}\n"
    "local now, limit = tonumber(ARGV[1]), tonumber(ARGV[2])\n"
    "local taken, returned = weight_us(tonumber(ARGV[3]), limit), weight_us(tonumber(ARGV[4]), limit)\n"
    "local until_full = take_us(KEYS[1], taken - returned, now)\n"
    "return {string.format('%.0f', until_full), tokens_left(until_full, limit)}\n"
)


async def admitted(redis: Redis, tokens: int, *, rpm: int = 100, limit: int = LIMIT) -> tuple[Admitted, JobDraft]:
    """Admit a request of a key that reserves so many tokens."""
    request = draft(tokens_per_minute=limit, reserved_tokens=tokens)
    principal = Principal(KEY, rpm, admin_allowed=False, tokens_per_minute=limit)
    options = PlacementOptions(most_waiting=2)
    return await admit(redis, principal, request, candidates=[at("local")], options=options), request


async def ended(
    redis: Redis, request: JobDraft, used: int, closes: ClosingMode = ClosingMode.OPEN, attempt: int = 1
) -> bool:
    """Close a request that used so many tokens."""
    record = msgspec.structs.replace(UsageRecord.opened(request), completion_tokens=used, attempts=attempt)
    name = job_id(request.request_id, 1)
    return await finish_now(redis, Closing.of(record, closes, api_id=API, job_id=name, queue="local"))


async def used_now(redis: Redis) -> float:
    """Return how many of the key's tokens are taken now."""
    seconds, microseconds = await redis.time()
    full_us = int(await redis.get(BUCKET) or 0)
    return float(max(0, full_us - seconds * 1_000_000 - microseconds) * LIMIT / MINUTE_US)


async def check_used(redis: Redis, tokens: int) -> None:
    """So many are taken, less what came back while the test ran."""
    used = await used_now(redis)
    assert tokens - LIMIT / 2 < used <= tokens


async def run(url: str, limit: int, steps: list[tuple[int, int, int]]) -> None:
    """Take and give back, at times of our own, and compare with a bucket that is counted in tokens."""
    redis: Any = connect(url)
    bucket, now, debt = f"test:bucket:{next(names)}", 10**15, 0.0
    try:
        for waited_us, taken, returned in steps:
            now += waited_us
            debt = max(0.0, debt - waited_us * limit / MINUTE_US)
            debt = max(0.0, debt + taken - returned)
            until_full_us, left = await redis.eval(TAKE, 1, bucket, now, limit, taken, returned)
            # Each step is rounded up to a microsecond.
            tolerance = 1 + len(steps) * (1 + limit / MINUTE_US)
            assert abs(int(until_full_us) - debt * MINUTE_US / limit) <= tolerance
            assert 0 <= left <= limit
            assert abs(left - max(0.0, limit - debt)) <= 1 + tolerance * limit / MINUTE_US
            assert await redis.exists(bucket) == (int(until_full_us) > 0)
    finally:
        await redis.delete(bucket)
        await close(redis)


@given(
    limit=st.sampled_from([1, 7, 1000, 60_000_000]),
    steps=st.lists(
        st.tuples(st.integers(0, 2 * MINUTE_US), st.integers(0, 5000), st.integers(0, 5000)), min_size=1, max_size=10
    ),
)
def test_the_bucket_is_a_bucket(valkey_url: str, limit: int, steps: list[tuple[int, int, int]]) -> None:
    """It fills evenly, is never more than full, and keeps what was taken beyond it."""
    asyncio.run(run(valkey_url, limit, steps))


async def test_tokens_are_reserved_until_none_are_left(redis: Redis) -> None:
    """The answer says how many are left and when all are back; a refusal when enough are."""
    first, _ = await admitted(redis, 400)
    assert first.remaining_tokens == 200
    assert first.tokens_reset_s == pytest.approx(40, abs=0.001)
    with pytest.raises(TokensRateLimited) as refused:
        await admitted(redis, 500)
    error = refused.value
    assert (error.status, error.code, error.type) == (429, "tokens_rate_limited", "tokens")
    assert 200 <= error.remaining < 500
    assert error.retry_after_s is not None
    # 400 of 500 tokens lack 300 of 600: half a minute, less what has come back.
    assert 0 < error.retry_after_s <= 30
    assert 0 < error.reset_s <= 40
    assert error.requests == (99, 60.0)
    whole, _ = await admitted(redis, 200)
    assert whole.remaining_tokens < 200


@pytest.mark.parametrize("reason", ["tokens", "rpm", "full"])
async def test_a_refused_request_consumes_nothing(redis: Redis, reason: str) -> None:
    """Whichever limit refuses it: neither tokens nor a request of the minute."""
    for _ in range(2):
        await admitted(redis, 100)
    before, rate = await redis.get(BUCKET), await redis.zcard(rate_key(KEY))
    with pytest.raises(GatewayError) as refused:
        await admitted(redis, 550 if reason == "tokens" else 10, rpm=2 if reason == "rpm" else 100)
    expected = {"tokens": TokensRateLimited, "rpm": RateLimited, "full": Overloaded}
    assert type(refused.value) is expected[reason]
    assert (await redis.get(BUCKET), await redis.zcard(rate_key(KEY))) == (before, rate)


@pytest.mark.parametrize("used", [0, 100, 300, 2000])
async def test_the_end_settles_what_was_used(redis: Redis, used: int) -> None:
    """Less gives the rest back, more is taken too, beyond the limit; the end told again changes nothing."""
    await redis.set(since_key(API), 0)
    _, request = await admitted(redis, 300)
    assert await ended(redis, request, used)
    await check_used(redis, used)
    before = await redis.get(BUCKET)
    assert not await ended(redis, request, 0)
    assert await redis.get(BUCKET) == before
    if used > LIMIT:
        with pytest.raises(TokensRateLimited) as refused:
            await admitted(redis, 1)
        assert refused.value.remaining == 0


async def test_a_verdict_settles_nothing_and_the_truth_after_it_does(redis: Redis) -> None:
    """Nor is what a later attempt used added to what an earlier one did."""
    await redis.set(since_key(API), 0)
    _, request = await admitted(redis, 300)
    await ended(redis, request, 0, ClosingMode.JUDGED, attempt=0)
    await check_used(redis, 300)
    await ended(redis, request, 50, attempt=1)
    await check_used(redis, 50)
    await ended(redis, request, 450, attempt=2)
    await check_used(redis, 450)


async def test_what_was_in_doubt_gives_back_only_what_it_took(redis: Redis) -> None:
    """A request that Redis never opened reserved nothing."""
    _, request = await admitted(redis, 300)
    await ended(redis, draft(tokens_per_minute=LIMIT, reserved_tokens=300), 0, ClosingMode.NEW)
    await check_used(redis, 300)
    await ended(redis, request, 0, ClosingMode.NEW)
    assert await redis.exists(BUCKET) == 0


async def test_a_bucket_goes_away_by_itself(redis: Redis) -> None:
    """A minute after it is full at the latest."""
    await admitted(redis, LIMIT)
    assert 60_000 < await redis.pttl(BUCKET) <= 120_000


async def test_a_changed_limit_settles_by_the_old_one(redis: Redis) -> None:
    """What a request gives back is what it had taken."""
    _, request = await admitted(redis, 300)
    _, other = await admitted(redis, 30, limit=60_000)
    await ended(redis, request, 0)
    await ended(redis, other, 0)
    assert await redis.exists(BUCKET) == 0
