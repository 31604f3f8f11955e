"""The accounts' scripts on a real Valkey: choice, quotas, cool-downs and breakers, from several workers at once."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING

import pytest

from shared import errors
from shared.models.catalogue import Quota
from shared.redis.client import close, connect
from shared.redis.names import account_key, breaker_key, quota_keys
from tests.clock import quota_day_lasts
from workers.accounts.outcome import FailureClass, NoAccount
from workers.accounts.state import AccountCandidate, AccountStateStore, Reservation, Role

if TYPE_CHECKING:
    from redis.asyncio import Redis

QUEUE = "arq:queue:gemini:gemini"
MODEL = "gemini-x"
DOWN = errors.Unavailable("The model server cannot be reached.")
FAILED = FailureClass("failed")


@pytest.fixture(autouse=True)
async def _one_quota_day() -> None:
    """Let a test begin and end on the same day of Gemini's: what an account has used is told by that."""
    await quota_day_lasts()


def candidate(name: str = "a", scope: str | None = None, **quota: int) -> AccountCandidate:
    """Return an account; its quota by the fields of `Quota`."""
    return AccountCandidate(name, scope or f"key:{name}", "print-" + name, Quota(**quota))


@pytest.fixture
def store(redis: Redis) -> AccountStateStore:
    """Return a store that counts."""
    return AccountStateStore(redis, QUEUE, probe_s=60, is_counted=True)


async def take(
    store: AccountStateStore, *accounts: AccountCandidate, how: str = "take", tokens: int = 1
) -> Reservation | NoAccount:
    """Reserve."""
    return await store.reserve(how, MODEL, tokens, accounts)  # type: ignore[arg-type]  # any text, of cases


async def taken(
    store: AccountStateStore, *accounts: AccountCandidate, how: str = "take", tokens: int = 1
) -> Reservation:
    """Reserve what must be there."""
    reservation = await take(store, *accounts, how=how, tokens=tokens)
    assert isinstance(reservation, Reservation), reservation
    return reservation


def wait_s(refusal: NoAccount) -> float:
    """Return how long an account was to rest, whatever of it has passed since, in seconds: in steps of 2.5."""
    return math.ceil(refusal.wait_ms / 2500) * 2.5


async def refused(
    store: AccountStateStore, *accounts: AccountCandidate, how: str = "take", tokens: int = 1
) -> NoAccount:
    """Reserve what must not be there."""
    refusal = await take(store, *accounts, how=how, tokens=tokens)
    assert isinstance(refusal, NoAccount), refusal
    return refusal


async def age(redis: Redis, account: AccountCandidate, by_s: float) -> None:
    """Let the uses of the last minute be older."""
    _, minute, _, _ = quota_keys(account.scope, MODEL, "")
    for use, at_ms in await redis.zrange(minute, 0, -1, withscores=True):
        await redis.zadd(minute, {use: at_ms - by_s * 1000})


async def pass_time(redis: Redis, key: str) -> None:
    """Let a bench, a cool-down, a probe or a breaker's wait be over."""
    for field in ("until", "cool", "probe", "forced"):
        if await redis.hexists(key, field):  # type: ignore[misc]  # redis-py: or awaitable
            await redis.hset(key, field, "1")  # type: ignore[misc]  # redis-py: or awaitable


async def trip(store: AccountStateStore, account: AccountCandidate) -> None:
    """Open an account's breaker."""
    for _ in range(5):
        await store.fail(FAILED, "", MODEL, account, DOWN)


async def test_a_quota_is_never_exceeded_by_workers_that_ask_at_once(valkey_url: str, redis: Redis) -> None:
    """Four workers with connections of their own, two hundred attempts, two projects of seven: exactly fourteen."""
    del redis
    clients = [connect(valkey_url) for _ in range(4)]
    accounts = [candidate(name, requests_per_minute=7) for name in "ab"]
    accounts += [candidate("c", scope="key:b", requests_per_minute=7)]
    stores = [AccountStateStore(client, QUEUE, probe_s=60, is_counted=True) for client in clients]
    replies = await asyncio.gather(*(take(stores[number % 4], *accounts) for number in range(200)))
    for client in clients:
        await close(client)
    granted = [reply for reply in replies if isinstance(reply, Reservation)]
    assert len(granted) == 14
    assert len([reply for reply in granted if reply.account == 0]) == 7
    assert {reply.why for reply in replies if isinstance(reply, NoAccount)} == {"minute"}


async def test_a_refused_attempt_takes_nothing(store: AccountStateStore, redis: Redis) -> None:
    """Neither of the minute nor of the day."""
    account = candidate(requests_per_minute=1, requests_per_day=9)
    first = await taken(store, account)
    for _ in range(3):
        await refused(store, account)
    _, minute, tokens, day = quota_keys(account.scope, MODEL, first.day)
    assert await redis.zcard(minute) == 1
    assert await redis.hget(tokens, "total") == b"1"  # type: ignore[misc]  # redis-py: or awaitable
    assert await redis.hgetall(day) == {b"model:gemini-x": b"1", b"requests:a": b"1"}  # type: ignore[misc]  # redis-py: or awaitable


async def test_the_minute_slides(store: AccountStateStore, redis: Redis) -> None:
    """A use counts for sixty seconds, and the refusal says when the oldest of them ends."""
    account = candidate(requests_per_minute=2)
    await taken(store, account)
    await age(redis, account, 50)
    await taken(store, account)
    refusal = await refused(store, account)
    assert 5_000 < refusal.wait_ms <= 10_000
    await age(redis, account, 10.5)
    await taken(store, account)
    await refused(store, account)


async def test_the_account_with_the_most_headroom_is_taken(store: AccountStateStore) -> None:
    """By the smallest share that is left of any of its limits, not by numbers."""
    small = candidate("small", requests_per_minute=4)
    large = candidate("large", requests_per_minute=100, prompt_tokens_per_minute=1000)
    await taken(store, large, tokens=300)
    assert [(await taken(store, large, small)).account for _ in range(3)] == [1, 1, 0]


async def test_accounts_of_one_project_share_its_quota(store: AccountStateStore) -> None:
    """Two keys, one limit; another model has its own."""
    keys = [candidate(name, scope="project:p", requests_per_minute=2) for name in "ab"]
    await taken(store, keys[0])
    await taken(store, keys[1])
    await refused(store, *keys)
    assert isinstance(await store.reserve("take", "another", 1, keys), Reservation)


async def test_prompt_tokens_are_reserved_and_corrected(store: AccountStateStore, redis: Redis) -> None:
    """By the estimate first, then by what the upstream counted."""
    account = candidate(prompt_tokens_per_minute=100)
    first = await taken(store, account, tokens=90)
    assert (await refused(store, account, tokens=20)).closed_ms == 0, "a shorter prompt still fits"
    await store.settle("good", first, MODEL, account, prompt_tokens=30, all_tokens=44)
    second = await taken(store, account, tokens=20)
    await store.settle("good", second, MODEL, account, prompt_tokens=70, all_tokens=70)
    refusal = await refused(store, account, tokens=1)
    assert refusal.why == "minute"
    assert refusal.closed_ms > time.time() * 1000
    await age(redis, account, 61)
    await taken(store, account, tokens=100)
    _, _, tokens, day = quota_keys(account.scope, MODEL, first.day)
    assert sorted((await redis.hgetall(tokens)).values()) == [b"100", b"100"], "the total and the one use"  # type: ignore[misc]  # redis-py: or awaitable
    assert await redis.hget(day, "tokens:a") == b"114"  # type: ignore[misc]  # redis-py: or awaitable


async def test_a_prompt_over_the_whole_quota_is_tried_only_where_nothing_else_can_serve(
    store: AccountStateStore,
) -> None:
    """Our number may be wrong."""
    account = candidate(prompt_tokens_per_minute=100)
    assert (await refused(store, account, tokens=101)).closed_ms == 0
    await taken(store, account, how="last", tokens=101)


async def test_the_requests_of_a_day_count_until_it_ends(store: AccountStateStore) -> None:
    """However many minutes they are spread over; a lone backend is tried all the same, our count may be wrong."""
    account = candidate(requests_per_day=2)
    await taken(store, account)
    await taken(store, account)
    refusal = await refused(store, account)
    assert refusal.why == "day"
    assert 0 < refusal.wait_ms <= 25 * 3600 * 1000
    assert (await taken(store, account, how="last")).role == "forced"
    assert (await refused(store, account, how="last")).why == "day"


async def test_what_was_not_used_is_given_back(store: AccountStateStore) -> None:
    """A request that the upstream refused to begin."""
    account = candidate(requests_per_minute=1, requests_per_day=1, prompt_tokens_per_minute=10)
    for _ in range(3):
        reservation = await taken(store, account, tokens=10)
        await store.settle("unused", reservation, MODEL, account)


@pytest.mark.parametrize(("period", "why"), [("minute", "minute"), ("day", "day_reported"), ("unknown", "cooling")])
async def test_a_429_cools_the_project_for_this_model(store: AccountStateStore, period: str, why: str) -> None:
    """For as long as it said, whichever of its keys is asked; the others go on, and so do other models."""
    told, same, other = candidate("a", "project:p"), candidate("b", "project:p"), candidate("c")
    error = errors.Throttled("At its limit.", retry_after_s=30)
    await store.fail(FailureClass("throttled", period, 30_000), "", MODEL, told, error)  # type: ignore[arg-type]  # any text, of cases
    assert (await taken(store, told, same, other)).account == 2
    refusal = await refused(store, told, same)
    assert refusal.why == why
    assert 20_000 < refusal.wait_ms <= 30_000
    assert isinstance(await store.reserve("take", "another", 1, [told]), Reservation)


async def test_cooling_without_a_hint_doubles_with_each_429(store: AccountStateStore, redis: Redis) -> None:
    """From five seconds to five minutes; attempts that ran beside each other are one sign; an answer begins anew."""
    account = candidate()
    quota = quota_keys(account.scope, MODEL, "")[0]
    waits = []
    for _ in range(9):
        for _ in range(3):
            await store.fail(FailureClass("throttled"), "", MODEL, account, errors.Throttled("no"))
        waits.append(wait_s(await refused(store, account)))
        await redis.hset(quota, "cool", str(int(time.time() * 1000) - 1))  # type: ignore[misc]  # redis-py: or awaitable
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    reservation = await taken(store, account)
    await store.settle("good", reservation, MODEL, account)
    await store.fail(FailureClass("throttled"), "", MODEL, account, errors.Throttled("no"))
    assert (await refused(store, account)).wait_ms <= 5000


async def test_a_limit_that_the_upstream_names_is_learned_if_it_is_lower(
    store: AccountStateStore, redis: Redis
) -> None:
    """Ours stays where it is the lower one; after a day it is forgotten."""
    for name, ours, named, most in (("lower", 9, 2, 2), ("higher", 2, 9, 2), ("new", 0, 3, 3)):
        account = candidate(name, requests_per_minute=ours)
        for value in (named, named + 5):
            blame = FailureClass("throttled", "minute", 1, (("rpm", value),))
            await store.fail(blame, "", MODEL, account, errors.Throttled("no"))
        quota = quota_keys(account.scope, MODEL, "")[0]
        await pass_time(redis, quota)
        for _ in range(most):
            await taken(store, account)
        await refused(store, account)
        await redis.hset(quota, "learned", "1")  # type: ignore[misc]  # redis-py: or awaitable
        if name != "higher":
            await taken(store, account)


async def test_a_refused_credential_is_cooling_down_until_it_is_probed_or_changed(
    store: AccountStateStore, redis: Redis
) -> None:
    """For every model; after its time one attempt finds out; another key is another credential."""
    bad, good = candidate("bad"), candidate("good")
    await store.fail(FailureClass("rejected"), "", MODEL, bad, errors.Rejected("Refused."))
    assert {(await taken(store, bad, good)).account for _ in range(8)} == {1}
    refusal = await refused(store, bad)
    assert refusal.why == "rejected"
    assert 590_000 < refusal.wait_ms <= 600_000
    assert (await store.look({}))[""] > time.time() * 1000, "closed for every model"
    assert (await taken(store, AccountCandidate("bad", "key:new", "print-new", Quota()))).role == ""
    await pass_time(redis, account_key("bad"))
    assert (await taken(store, bad, good)).account == 1, "never at the cost of a client, while another can serve"
    probe = await taken(store, bad)
    assert probe.role == "probe"
    assert isinstance(await take(store, bad), NoAccount)
    await store.settle("good", probe, MODEL, bad)
    assert (await taken(store, bad)).role == ""


async def test_the_breaker_opens_at_five_failures_that_are_half_of_the_attempts(store: AccountStateStore) -> None:
    """One error, or a few among many answers, opens nothing."""
    account, busy = candidate("a"), candidate("busy")
    for number in range(1, 6):
        assert bool(await store.fail(FAILED, "", MODEL, account, DOWN)) is (number == 5)
    assert (await refused(store, account)).why == "failing"
    await store.look({("busy", MODEL): 6})
    untils = [await store.fail(FAILED, "", MODEL, busy, DOWN) for _ in range(6)]
    assert [bool(until) for until in untils] == [False] * 5 + [True]


async def test_failures_of_long_ago_do_not_count(store: AccountStateStore, redis: Redis) -> None:
    """The window is half a minute."""
    account = candidate()
    window = "claw:account:a:window:gemini-x"
    old = int(time.time()) // 5 - 7
    await redis.hset(window, mapping={f"bad:{old}": 40})  # type: ignore[misc]  # redis-py: or awaitable
    for _ in range(4):
        assert not await store.fail(FAILED, "", MODEL, account, DOWN)
    assert await redis.hexists(window, f"bad:{old}") is False  # type: ignore[misc]  # redis-py: or awaitable


async def test_half_open_lets_one_attempt_through_for_all_workers(
    store: AccountStateStore, redis: Redis, valkey_url: str
) -> None:
    """Of thirty at once one is the probe; if it fails the wait doubles, if it goes well the breaker closes."""
    account = candidate()
    other_client = connect(valkey_url)
    other = AccountStateStore(other_client, QUEUE, probe_s=60, is_counted=True)
    await trip(store, account)
    waits = [wait_s(await refused(store, account))]
    for _ in range(5):
        await pass_time(redis, breaker_key("a", MODEL))
        replies = await asyncio.gather(*(take(which, account) for _ in range(15) for which in (store, other)))
        assert [reply.role for reply in replies if isinstance(reply, Reservation)] == ["probe"]
        await store.fail(FAILED, "probe", MODEL, account, DOWN)
        await store.fail(FAILED, "", MODEL, account, DOWN)  # one that began before says nothing new
        waits.append(wait_s(await refused(store, account)))
    assert waits == [5, 10, 20, 40, 60, 60]
    await pass_time(redis, breaker_key("a", MODEL))
    await store.settle("good", await taken(store, account), MODEL, account)
    await close(other_client)
    assert await store.look({}) == {}
    assert [(await taken(store, account)).role for _ in range(3)] == ["", "", ""]


async def test_a_probe_that_is_cancelled_makes_room_for_the_next(store: AccountStateStore, redis: Redis) -> None:
    """The client that left said nothing of the account."""
    account = candidate()
    await trip(store, account)
    await pass_time(redis, breaker_key("a", MODEL))
    probe = await taken(store, account)
    await refused(store, account)
    await store.settle("used", probe, MODEL, account)
    assert (await taken(store, account)).role == "probe"


async def test_a_lone_backend_is_tried_once_a_second_whatever_is_known_against_it(
    store: AccountStateStore, redis: Redis
) -> None:
    """Each account that may be well soon, the first to be back first; who comes within the second gets its error."""
    failing, rejected, cooling = candidate("failing"), candidate("rejected"), candidate("cooling")
    await trip(store, failing)
    await store.fail(FailureClass("rejected"), "", MODEL, rejected, errors.Rejected("Refused."))
    await store.fail(FailureClass("throttled"), "", MODEL, cooling, errors.Throttled("Limit."))
    everyone = (failing, rejected, cooling)
    replies = await asyncio.gather(*(take(store, *everyone, how="last") for _ in range(10)))
    granted = [reply for reply in replies if isinstance(reply, Reservation)]
    assert [(reply.account, reply.role) for reply in granted] == [(0, "forced"), (2, "forced")]
    last = [reply for reply in replies if isinstance(reply, NoAccount)]
    assert {reply.why for reply in last} == {"failing"}
    assert (await taken(store, rejected, how="last")).role == "forced", "where there is no other"
    for account in everyone:
        await redis.hset(account_key(account.id), "forced", "1")  # type: ignore[misc]  # redis-py: or awaitable
    forced = await taken(store, rejected, cooling, how="last")
    assert forced.account == 1
    await store.settle("good", forced, MODEL, cooling)
    assert (await taken(store, *everyone)).role == "", "it answered: it cools no longer"


@pytest.mark.parametrize("how", ["take", "last", "force"])
@pytest.mark.parametrize("why", ["day_reported", "day", "rejected"])
async def test_an_account_that_is_out_for_long_speaks_for_nobody_while_others_are_back_soon(
    store: AccountStateStore, how: str, why: str
) -> None:
    """Neither is it tried, nor is its error or its end the refusal's, be it the one that fails or a breaker's probe."""
    out = candidate("out", requests_per_day=int(why == "day"))
    others = [candidate(f"failing {number}") for number in range(5)]
    if why == "day_reported":
        await store.fail(FailureClass("throttled", "day", 625_000), "", MODEL, out, errors.Throttled("Limit."))
    elif why == "rejected":
        await store.fail(FailureClass("rejected"), "", MODEL, out, errors.Rejected("Refused."))
    else:
        await taken(store, out)
    for account in others:
        await trip(store, account)
    replies = await asyncio.gather(*(take(store, out, *others, how=how) for _ in range(10)))
    tried = sorted(reply.account for reply in replies if isinstance(reply, Reservation))
    assert tried == ([] if how == "take" else [1, 2, 3, 4, 5])
    refusals = [reply for reply in replies if isinstance(reply, NoAccount)]
    assert {reply.why for reply in refusals} == {"failing"}
    assert max(reply.wait_ms for reply in refusals) <= 5000
    closed_s = max(reply.closed_ms for reply in refusals) / 1000 - time.time()
    assert closed_s < 6, "and so is the end that the backend announces"


async def test_the_end_of_a_bench_is_no_return(store: AccountStateStore, redis: Redis) -> None:
    """A refused credential that is soon to be probed does not speak for the one that fails, nor open the backend."""
    rejected, failing = candidate("rejected"), candidate("failing")
    until = await store.fail(FailureClass("rejected"), "", MODEL, rejected, errors.Rejected("Refused."))
    await redis.hset(account_key("rejected"), "until", str(until - 598_000))  # type: ignore[misc]  # redis-py: or awaitable
    await trip(store, failing)
    refusal = await refused(store, rejected, failing)
    assert refusal.why == "failing"
    assert await store.look({}) == {MODEL: refusal.closed_ms}
    assert refusal.closed_ms > until - 598_000 + 1000


async def test_a_credential_that_is_refused_again_stays_cooling_down_until_the_same_moment(
    store: AccountStateStore, redis: Redis
) -> None:
    """Attempts that ran beside each other are one sign; after its time a refused probe is a new one."""
    account = candidate()
    refuse = (MODEL, account, errors.Rejected("Refused."))
    until = await store.fail(FailureClass("rejected"), "", *refuse)
    await redis.hset(account_key("a"), "until", str(until - 5000))  # type: ignore[misc]  # redis-py: or awaitable
    for role in ("", "forced"):
        assert await store.fail(FailureClass("rejected"), role, *refuse) == until - 5000
    await pass_time(redis, account_key("a"))
    assert await store.fail(FailureClass("rejected"), "probe", *refuse) >= until


@pytest.mark.parametrize("role", ["", "forced"])
async def test_a_forced_try_that_fails_does_not_lengthen_the_wait(store: AccountStateStore, role: Role) -> None:
    """Else a busy lone backend would be pushed to the longest wait within seconds."""
    account = candidate()
    await trip(store, account)
    before = (await refused(store, account)).wait_ms
    for _ in range(5):
        await store.fail(FAILED, role, MODEL, account, DOWN)
    assert (await refused(store, account)).wait_ms <= before


async def test_a_lone_backend_waits_for_a_minutes_quota_unless_it_cannot(store: AccountStateStore) -> None:
    """`last` says how long; `force` tries."""
    account = candidate(requests_per_minute=1)
    await taken(store, account)
    waiting = await refused(store, account, how="last")
    assert (waiting.why, waiting.quota_wait_ms) == ("minute", waiting.wait_ms)
    failing = candidate("failing")
    await trip(store, failing)
    waiting = await refused(store, failing, account, how="last")
    assert waiting.quota_wait_ms > 50_000 > waiting.wait_ms, "a breaker's end is no promise"
    assert (await taken(store, account, how="force")).role == "forced"
    again = await refused(store, account, how="force")
    assert (again.why, again.quota_wait_ms) == ("minute", 0)


async def test_a_backend_is_closed_as_soon_as_its_last_quota_is_taken(store: AccountStateStore, redis: Redis) -> None:
    """Not only when the next attempt comes in vain; it is open again when an account is."""
    one, other = (candidate(name, requests_per_minute=1) for name in "ab")
    assert (await taken(store, one, other)).closed_ms == 0
    closing = await taken(store, one, other)
    assert closing.closed_ms > time.time() * 1000
    assert await store.look({}) == {MODEL: closing.closed_ms}
    assert (await store.peek(MODEL, [one, other]))[1] == set()
    await age(redis, one, 61)
    assert (await store.peek(MODEL, [one, other]))[1] == {0}
    await age(redis, other, 61)
    await taken(store, one, other)
    assert await store.look({}) == {}


async def test_an_attempt_of_several_requests_takes_as_many(store: AccountStateStore, redis: Redis) -> None:
    """Of the minute and of the day, in one step or not at all; and gives back as many."""
    account = candidate(requests_per_minute=5, requests_per_day=9)

    async def ask(requests: int, how: str = "take") -> Reservation | NoAccount:
        return await store.reserve(how, MODEL, 12, [account], requests=requests)  # type: ignore[arg-type]  # any text, of cases

    first = await ask(3)
    assert isinstance(first, Reservation)
    refusal = await ask(3)
    assert isinstance(refusal, NoAccount)
    assert (refusal.why, refusal.closed_ms) == ("minute", 0), "a single one has room"
    _, minute, tokens, day = quota_keys(account.scope, MODEL, first.day)
    assert await redis.zcard(minute) == 3
    assert await redis.hget(tokens, "total") == b"12"  # type: ignore[misc]  # redis-py: or awaitable
    assert await redis.hgetall(day) == {b"model:gemini-x": b"3", b"requests:a": b"3"}  # type: ignore[misc]  # redis-py: or awaitable
    assert isinstance(await ask(2), Reservation)
    await store.settle("unused", first, MODEL, account)
    assert await redis.zcard(minute) == 2
    assert await redis.hget(day, "model:gemini-x") == b"2"  # type: ignore[misc]  # redis-py: or awaitable
    assert isinstance(await ask(3), Reservation)
    await age(redis, account, 61)
    refusal = await ask(5)
    assert isinstance(refusal, NoAccount)
    assert refusal.why == "day"


async def test_more_requests_than_a_minute_has_go_where_nothing_else_can_serve(store: AccountStateStore) -> None:
    """As a prompt that is larger than the whole quota: elsewhere if that is possible, else Google decides."""
    account = candidate(requests_per_minute=2)
    refusal = await store.reserve("take", MODEL, 1, [account], requests=4)
    assert isinstance(refusal, NoAccount)
    assert refusal.why == "minute"
    assert isinstance(await store.reserve("last", MODEL, 1, [account], requests=4), Reservation)
