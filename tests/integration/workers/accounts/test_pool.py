"""An attempt's hold on an account: what it is given, what its end means, and what happens without Redis."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, cast

import pytest

from shared import errors
from shared.redis.client import close, connect
from shared.redis.names import quota_keys
from shared.types import Usage
from tests.clock import quota_day_lasts
from tests.fleet import PATIENCE_S
from tests.integration.workers.accounts.sample_accounts import (
    MODEL,
    Connections,
    account,
    counted,
    fail,
    lone,
    use,
    uses,
)
from workers.accounts.state import AccountStateStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

    from tests.conftest import Eventually

DOWN = errors.Unavailable("The model server cannot be reached.")


@pytest.fixture(autouse=True)
async def _one_quota_day() -> None:
    """Let a test begin and end on the same day of Gemini's: what an account has used is told by that."""
    await quota_day_lasts()


@pytest.fixture
async def spied(valkey_url: str, redis: Redis) -> AsyncIterator[Redis]:
    """Yield a client of its own, so that what others send is not counted."""
    del redis
    client = connect(valkey_url)
    yield client
    await close(client)


async def test_a_backend_without_quotas_costs_no_step_while_it_is_well(spied: Redis, redis: Redis) -> None:
    """Its successes are told with the next failure or look."""
    accounts = lone(spied)
    await use(accounts)
    before = (await redis.info("commandstats")).get("cmdstat_evalsha", {}).get("calls", 0)
    for _ in range(20):
        await use(accounts)
    assert (await redis.info("commandstats")).get("cmdstat_evalsha", {}).get("calls", 0) == before
    for _ in range(6):
        await fail(accounts, DOWN)
    assert accounts.closed_ms() == {}, "six of 27 attempts are not half of them"


async def test_a_breaker_closes_a_backend_and_an_answer_opens_it_again(redis: Redis, eventually: Eventually) -> None:
    """What can go elsewhere is told at once; what cannot is tried, and its first word closes the breaker."""
    accounts = lone(redis)
    for _ in range(5):
        assert await fail(accounts, DOWN) is DOWN
    assert accounts.closed_ms()[MODEL] > time.time() * 1000
    refused = await fail(accounts, errors.InternalFault("must not be reached"))
    assert type(refused) is errors.Unavailable
    assert refused.message != DOWN.message, "its own error, not that of another request"
    assert refused.fails_over
    assert refused.retry_after_s
    async with accounts.lease(MODEL, lambda: 10, is_last=True) as lease:
        lease.began()

        async def is_open() -> bool:
            return accounts.closed_ms() == {}

        await eventually(is_open)
        await use(accounts)


async def test_what_one_worker_finds_out_the_others_know(redis: Redis, eventually: Eventually) -> None:
    """Within a look; the process is told to announce it, and again when it is over."""
    finder, other = lone(redis), lone(redis)
    changes: list[dict[str, int]] = []
    following = asyncio.create_task(other.follow(lambda: changes.append(other.closed_ms())))
    for _ in range(5):
        await fail(finder, DOWN)
    await eventually(lambda: changes)
    assert set(changes[-1]) == {MODEL}
    assert type(await fail(other, errors.InternalFault("must not be reached"))) is errors.Unavailable
    await use(finder, is_last=True)
    await eventually(lambda: changes[-1] == {})
    await use(other)
    following.cancel()


async def test_an_account_is_closed_for_its_model_only_while_the_time_lasts(redis: Redis) -> None:
    """Nobody has to say that it is over."""
    accounts = counted(redis, account("a", requests_per_minute=1))
    await use(accounts)
    until = accounts.closed_ms()[MODEL]
    accounts._state._closed_until = {MODEL: int(time.time() * 1000) - 1}
    assert until > time.time() * 1000
    assert accounts.closed_ms() == {}


@pytest.mark.parametrize("error", [errors.InvalidRequest("no"), errors.ModelMissing("no")])
async def test_a_caller_closes_no_account(redis: Redis, error: errors.GatewayError) -> None:
    """However often, and what it did not use is not counted."""
    accounts = counted(redis, account("a", requests_per_minute=1))
    for _ in range(10):
        assert await fail(accounts, error) is error
    assert await uses(redis, "a") == 0


async def test_cancelled_attempts_close_no_account(redis: Redis) -> None:
    """Clients that leave say nothing of the model server."""
    accounts = lone(redis)
    for _ in range(10):
        with pytest.raises(asyncio.CancelledError):
            await use(accounts, asyncio.CancelledError())
    await use(accounts)
    assert accounts.closed_ms() == {}


async def test_an_answer_that_breaks_off_blames_nobody(redis: Redis) -> None:
    """It had begun: the account is well."""
    accounts = lone(redis)

    async def break_off() -> None:
        async with accounts.lease(MODEL, lambda: 10) as lease:
            lease.began()
            raise errors.Malformed("broken off")

    for _ in range(10):
        with pytest.raises(errors.Malformed):
            await break_off()
    assert accounts.closed_ms() == {}


async def test_the_upstreams_count_replaces_the_estimate(redis: Redis, eventually: Eventually) -> None:
    """Prompt tokens for the quota, all of them for the account."""
    accounts = counted(redis, account("a"))
    async with accounts.lease(MODEL, lambda: 10) as lease:
        lease.used(Usage(prompt_tokens=70, completion_tokens=5))
    reservation = lease.reservation
    assert reservation is not None
    _, _, tokens, day = quota_keys("a", MODEL, reservation.day)

    async def corrected() -> bool:
        return bool(await redis.hget(tokens, "total") == b"70" and await redis.hget(day, "tokens:a") == b"75")  # type: ignore[misc]  # redis-py: or awaitable

    await eventually(corrected)


async def test_a_failure_says_whether_another_account_may_serve(redis: Redis) -> None:
    """Then the same backend is worth another attempt, which takes the other account."""
    accounts = counted(redis, account("a"), account("b"))
    spent = errors.Throttled("spent", retry_after_s=30)
    spent.period = "minute"
    async with accounts.lease(MODEL, lambda: 10) as lease:
        first = lease.account.id
    while await use(accounts) == first:
        pass
    error = await fail(accounts, spent)
    assert error.retry_here
    assert accounts.closed_ms() == {}
    assert errors.from_info(error.to_info()).retry_here
    second = errors.Throttled("spent", retry_after_s=40)
    second.period = "minute"
    assert not (await fail(accounts, second)).retry_here
    assert accounts.closed_ms()[MODEL] > time.time() * 1000
    refused = await fail(accounts, errors.InternalFault("must not be reached"))
    assert isinstance(refused, errors.Throttled)
    assert not refused.retry_here
    assert 20 < (refused.retry_after_s or 0) <= 30, "the first that comes back"


async def test_the_last_attempt_waits_for_a_minutes_quota(redis: Redis, eventually: Eventually) -> None:
    """It is served when the minute has passed, not refused."""
    accounts = counted(redis, account("a", requests_per_minute=1))
    await use(accounts)
    minute = quota_keys("a", MODEL, "")[1]
    ((entry, at_ms),) = await redis.zrange(minute, 0, -1, withscores=True)
    await redis.zadd(minute, {entry: at_ms - 59_500})
    due = asyncio.get_running_loop().time() + 30
    waiting = asyncio.create_task(use(accounts, is_last=True, due=due))
    assert await asyncio.wait_for(waiting, PATIENCE_S) == "a"
    assert await redis.zscore(minute, entry) is None, "the first one had to leave the minute"
    assert await uses(redis, "a") == 1
    del eventually


async def test_the_last_attempt_is_tried_where_the_wait_would_be_too_long(redis: Redis) -> None:
    """Our count may be wrong; but once a second."""
    accounts = counted(redis, account("a", requests_per_minute=1))
    await use(accounts)
    due = asyncio.get_running_loop().time() + 5
    assert await use(accounts, is_last=True, due=due) == "a"
    refused = await fail(accounts, errors.InternalFault("must not be reached"), is_last=True, due=due)
    assert isinstance(refused, errors.Throttled)
    assert refused.retry_after_s


async def test_a_waiting_attempt_takes_an_account_that_is_added(redis: Redis, eventually: Eventually) -> None:
    """It need not wait for the minute's end."""
    full = account("full", requests_per_minute=1)
    accounts = counted(redis, full)
    await use(accounts)
    due = asyncio.get_running_loop().time() + 300
    waiting = asyncio.create_task(use(accounts, is_last=True, due=due))

    async def refused() -> bool:
        return MODEL in await accounts._state._store.look({})

    await eventually(refused)
    await accounts.replace([full, account("new")])
    assert await asyncio.wait_for(waiting, PATIENCE_S) == "new"


async def test_an_account_that_is_removed_ends_its_attempts_first(redis: Redis, eventually: Eventually) -> None:
    """Its connections are closed when nobody uses them."""
    gone = account("gone")
    accounts = counted(redis, gone)
    connections = cast("Connections", gone.provider)
    async with accounts.lease(MODEL, lambda: 10):
        await accounts.replace([account("stays")])
        assert await use(accounts) == "stays"
        assert not connections.closed
    await eventually(lambda: connections.closed)


async def test_without_accounts_an_attempt_fails_over(redis: Redis) -> None:
    """The last one was removed while it waited in the queue."""
    refused = await fail(counted(redis), errors.InternalFault("must not be reached"))
    assert (type(refused), refused.code) == (errors.Unavailable, "no_account")


async def test_without_redis_attempts_go_on_with_what_was_known(valkey_url: str, redis: Redis) -> None:
    """The account that failed here lately comes last; the failure of the bookkeeping is nobody's failure."""
    gone = connect("redis://127.0.0.1:1")
    away = AccountStateStore(gone, "arq:queue:gemini:gemini", probe_s=60, is_counted=True)
    accounts = counted(redis, account("a"), account("b"))
    bad = await use(accounts)
    while await use(accounts) != bad:
        pass
    accounts._unhealthy[bad] = time.monotonic() + 30
    accounts._state._store = away
    started = time.monotonic()
    served = {await use(accounts) for _ in range(20)}
    assert served == {"a", "b"} - {bad}
    assert time.monotonic() - started < 20, "no attempt waits for what is known to be away"
    rejected = await fail(accounts, errors.Rejected("Refused."))
    assert type(rejected) is errors.Rejected
    await close(gone)
    del valkey_url


@pytest.mark.parametrize("retry_after_s", [None, 17])
async def test_who_is_throttled_and_who_is_refused_for_it_hear_the_same_retry_after(
    redis: Redis, retry_after_s: int | None
) -> None:
    """Whether the upstream named one or not, and whether an attempt reached it or not; without one it is soon."""
    accounts = lone(redis)
    asked = [fail(accounts, errors.Throttled("Limit.", retry_after_s=retry_after_s)) for _ in range(3)]
    refused = [fail(accounts, errors.InternalFault("must not be reached")) for _ in range(3)]
    waits = [error.retry_after_s or 0 for error in [*await asyncio.gather(*asked), *await asyncio.gather(*refused)]]
    assert (retry_after_s or 10) - 10 < min(waits) <= max(waits) <= (retry_after_s or 5)
    forced = await fail(accounts, errors.Throttled("Limit."), is_last=True)
    assert 0 < (forced.retry_after_s or 0) <= (retry_after_s or 5)


async def test_a_failure_names_the_end_of_the_backend_not_of_its_account(redis: Redis) -> None:
    """The day of one is spent, the other is back in seconds."""
    accounts = counted(redis, account("a"))
    for _ in range(5):
        await fail(accounts, DOWN)
    await accounts.replace([*accounts.all, account("b")])
    spent = errors.Throttled("spent", retry_after_s=625)
    spent.period = "day"
    assert 0 < ((await fail(accounts, spent)).retry_after_s or 0) <= 5
