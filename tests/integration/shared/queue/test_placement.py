"""Choosing a queue, fair shares, priorities and budgets: one step in a real Valkey each."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import msgspec
import pytest

from shared.errors import BudgetSpent, Overloaded
from shared.ids import job_id
from shared.models.catalogue import NANO_USD
from shared.queue.arq_queue import forget, withdraw
from shared.queue.placement import BudgetLimits, Mode, PlacementOptions, enqueue
from shared.redis import scripts
from shared.redis.names import PAUSED, in_progress_key, job_key, open_requests, running_key
from shared.usage import Closing, ClosingMode, UsageRecord, finish_now
from tests.integration.shared.queue.sample_jobs import API, KEY, WORKER, at, budget, claim, draft, finish, put

if TYPE_CHECKING:
    from redis.asyncio import Redis


async def test_the_best_rank_with_room_is_taken(redis: Redis) -> None:
    """However long its queue is, up to the bound; then the next rank; then 503."""
    ranks = (at("a", rank=0, slots=4), at("b", rank=1, slots=4))
    assert [(await put(redis, *ranks, most_waiting=2))[0] for _ in range(4)] == ["a", "a", "b", "b"]
    with pytest.raises(Overloaded) as raised:
        await put(redis, *ranks, most_waiting=2)
    assert raised.value.code == "queue_full"


@pytest.mark.parametrize("dead", [1, 20])
async def test_jobs_that_nobody_waits_for_keep_no_place(redis: Redis, dead: int) -> None:
    """A full queue, of whose jobs some have lost their JSON: it is full again once so many more wait."""
    waiting = [await put(redis, at("a"), most_waiting=20) for _ in range(20)]
    for _, request in waiting[:dead]:
        await redis.delete(job_key(job_id(request.request_id, 1)))
    taken = 0
    for _ in range(400):
        try:
            await put(redis, at("a"), most_waiting=20)
        except Overloaded:
            continue
        taken += 1
    assert taken == dead
    assert await redis.zcard("a") == 20


async def test_in_a_rank_what_begins_first_is_taken(redis: Redis) -> None:
    """By slots, jobs ahead and how long they take: not simply the shortest queue."""
    fast, slow = at("fast", slots=4, service_ms=1000), at("slow", slots=1, service_ms=1000)
    for _ in range(4):
        await put(redis, fast)
    await put(redis, slow)
    await claim(redis, "fast", 4)
    await claim(redis, "slow")
    await put(redis, fast)
    assert (await put(redis, slow, fast))[0] == "fast", "half a second there, a second here"


async def test_a_model_that_is_loaded_is_preferred_until_its_queue_is_long(redis: Redis) -> None:
    """The other host has to read it into memory first."""
    hosts = (at("warm", slots=1, service_ms=4000), at("cold", slots=1, service_ms=4000, extra_ms=7000))
    chosen = []
    for _ in range(4):
        queue, _ = await put(redis, *hosts)
        chosen.append(queue)
        await claim(redis, queue)
    assert chosen == ["warm", "warm", "cold", "warm"], "two waits of 4 s are longer than 7 s of loading"


async def test_a_wait_that_is_too_long_leads_to_the_next_tier(redis: Redis) -> None:
    """Running jobs count as well as waiting ones, and a running one counts only as long as its worker says so."""
    local = at("local", slots=2, service_ms=6000, most_wait_ms=5000)
    route = (local, at("g", "gemini", rank=1))
    for _ in range(2):
        assert (await put(redis, *route))[0] == "local"
    await claim(redis, "local", 2)
    assert (await put(redis, *route))[0] == "local", "one of two slots is free in about 3 s"
    assert (await put(redis, *route))[0] == "g", "the next one would wait for 6 s"
    await redis.delete(running_key("local"))
    assert (await put(redis, *route))[0] == "local"


async def test_a_job_that_ends_does_not_count_as_running(redis: Redis) -> None:
    """And renewing does not bring it back."""
    _, request = await put(redis, at("local"))
    await claim(redis, "local")
    name = job_id(request.request_id, 1)
    assert await redis.zcard(running_key("local")) == 1
    await finish(redis, request, "local", 0)
    await scripts.run(redis, scripts.RENEW, [running_key("local")], 5000, name)
    assert await redis.zcard(running_key("local")) == 0


async def test_a_keys_many_jobs_do_not_starve_anothers_single_one(redis: Redis) -> None:
    """It waits for one job of each other key, not for five hundred."""
    for number in range(500):
        await put(redis, at("local"), request=draft(f"{number % 2:08d}-many"))
    _, single = await put(redis, at("local"), request=draft("single"))
    first = await claim(redis, "local", 3)
    assert single.request_id in {job["request_id"] for job in first}


async def test_keys_that_all_wait_take_turns(redis: Redis) -> None:
    """Also those that come later, and each key's own jobs keep their order."""
    sent: dict[str, list[str]] = {"a": [], "b": []}
    for key in ("a",) * 10 + ("b",) * 5:
        _, request = await put(redis, at("local"), request=draft(key))
        sent[key].append(request.request_id)
    jobs = await claim(redis, "local", 15)
    assert [job["key_id"] for job in jobs] == ["a", "b"] * 5 + ["a"] * 5
    for key, requests in sent.items():
        assert [job["request_id"] for job in jobs if job["key_id"] == key] == requests


async def test_a_share_that_was_used_does_not_count_for_ever(redis: Redis) -> None:
    """When the queue has been empty, everyone begins anew; scores are then the time again."""
    for _ in range(50):
        await put(redis, at("local"), request=draft("a"))
    await claim(redis, "local", 50)
    before_ms = time.time() * 1000
    await put(redis, at("local"), request=draft("a"))
    ((_, score),) = await redis.zrange("local", 0, 0, withscores=True)
    assert before_ms - 1 <= score <= time.time() * 1000


async def test_priorities_go_before_and_after_everything_else(redis: Redis) -> None:
    """In the order they came among themselves."""
    order = []
    for priority in ("low", "normal", "high", "normal", "high", "low"):
        _, request = await put(redis, at("local"), priority=priority)
        order.append(request.request_id)
    jobs = [job["request_id"] for job in await claim(redis, "local", 6)]
    assert jobs == [order[index] for index in (2, 4, 1, 3, 0, 5)]


async def test_only_the_last_resort_is_marked_as_the_last(redis: Redis) -> None:
    """A job whose request could go elsewhere fails fast; the last one waits for a quota, and is tried all the same."""
    route = (at("local", most_wait_ms=1000), at("g", "gemini", rank=1), at("local", rank=2))
    await put(redis, *route)
    await put(redis, *route[1:])
    await put(redis, at("local", rank=0))
    assert [job.get("is_last", False) for job in await claim(redis, "local", 2)] == [False, True]
    assert [job.get("is_last", False) for job in await claim(redis, "g")] == [False]


async def test_a_budget_is_exact_however_many_ask_at_once(redis: Redis) -> None:
    """Ten fit, of fifty that ask at the same time; the others are refused and consume nothing."""
    limits = BudgetLimits(all_nano_usd=1000)

    asking = [put(redis, at("paid", "paid", cost_nano_usd=100), limits=limits) for _ in range(50)]
    answers = await asyncio.gather(*asking, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, BudgetSpent)]
    assert {(error.status, error.code, error.type) for error in refused} == {(429,) + ("insufficient_quota",) * 2}
    assert len(answers) - len(refused) == 10
    assert await redis.zcard("paid") == await redis.hlen(open_requests(API)) == 10  # type: ignore[misc]  # redis-py: or awaitable
    held = {name: value for name, value in (await budget(redis)).items() if not name.startswith("r:")}
    assert held == {"held": 1000, f"held:{KEY}": 1000}


async def test_a_budget_says_whose_it_is_and_whether_waiting_helps(redis: Redis) -> None:
    """What is only reserved may be free again in a moment; what is spent stays so this month."""
    paid = at("paid", "paid", cost_nano_usd=600)
    _, request = await put(redis, paid, limits=BudgetLimits(all_nano_usd=1000))
    for limits, whose in ((BudgetLimits(all_nano_usd=1000), "gateway"), (BudgetLimits(key_nano_usd=1000), "key")):
        with pytest.raises(BudgetSpent, match=f"{whose}'s monthly budget .* is reserved") as raised:
            await put(redis, paid, limits=limits)
        assert raised.value.retry_after_s
    await finish(redis, request, "paid", 600)
    for limits, whose in ((BudgetLimits(all_nano_usd=1000), "gateway"), (BudgetLimits(key_nano_usd=1000), "key")):
        with pytest.raises(BudgetSpent, match=f"{whose}'s monthly budget .* does not cover") as raised:
            await put(redis, paid, limits=limits)
        assert raised.value.retry_after_s is None


async def test_what_was_reserved_is_settled_by_what_it_cost(redis: Redis) -> None:
    """Once, by whoever closes the request; the rest is free again."""
    limits = BudgetLimits(all_nano_usd=1000, key_nano_usd=1000)
    _, request = await put(redis, at("paid", "paid", cost_nano_usd=900), limits=limits)
    with pytest.raises(BudgetSpent):
        await put(redis, at("paid", "paid", cost_nano_usd=200), limits=limits)
    assert await finish(redis, request, "paid", 50)
    assert not await finish(redis, request, "paid", 50)
    assert await budget(redis) == {"spent": 50, f"spent:{KEY}": 50}
    await put(redis, at("paid", "paid", cost_nano_usd=950), limits=limits)
    with pytest.raises(BudgetSpent):
        await put(redis, at("paid", "paid", cost_nano_usd=1), limits=limits)


async def test_a_keys_own_budget_binds_it_alone(redis: Redis) -> None:
    """Another key still pays."""
    await put(redis, at("paid", "paid", cost_nano_usd=80), limits=BudgetLimits(key_nano_usd=100))
    with pytest.raises(BudgetSpent):
        await put(redis, at("paid", "paid", cost_nano_usd=80), limits=BudgetLimits(key_nano_usd=100))
    await put(
        redis, at("paid", "paid", cost_nano_usd=80), limits=BudgetLimits(key_nano_usd=100), request=draft("other")
    )


async def test_near_the_budget_auto_stays_with_what_is_free(redis: Redis) -> None:
    """What cannot be paid is passed over, as long as something else has room."""
    route = (at("paid", "paid", cost_nano_usd=600), at("local", rank=1))
    limits = BudgetLimits(all_nano_usd=1000)
    assert [(await put(redis, *route, limits=limits))[0] for _ in range(3)] == ["paid", "local", "local"]


async def test_what_a_lost_attempt_cost_stays_reserved_until_its_request_ends(redis: Redis) -> None:
    """Beside what the next one can cost, and also where that one costs nothing."""
    limits = BudgetLimits(all_nano_usd=1000)
    options = PlacementOptions(limits=limits, most_waiting=10)
    _, request = await put(redis, at("paid", "paid", cost_nano_usd=900), limits=limits)
    second = msgspec.structs.replace(request, attempt=2).after(300 / NANO_USD)
    dear, cheap = at("other", "paid", cost_nano_usd=701), at("other", "paid", cost_nano_usd=700)
    assert await enqueue(redis, second, [dear], options=options) == -1
    assert await enqueue(redis, second, [cheap], options=options) == 0
    assert (await budget(redis))["held"] == 1000
    third = msgspec.structs.replace(second, attempt=3)
    assert await enqueue(redis, third, [at("local")], options=options) == 0
    assert (await budget(redis))["held"] == 300
    ended = msgspec.structs.replace(UsageRecord.opened(third), tier="local")
    closing = Closing.of(ended, ClosingMode.HELD, api_id=API, job_id=job_id(third.request_id, 3), queue="local")
    assert await finish_now(redis, closing)
    assert await budget(redis) == {"spent": 300, f"spent:{KEY}": 300}


async def test_a_request_that_moves_on_takes_its_reservation_along(redis: Redis) -> None:
    """From one paid API to another it is not counted twice, and at the local tier it is given back."""
    limits = BudgetLimits(all_nano_usd=1000)
    options = PlacementOptions(limits=limits, most_waiting=10)
    _, request = await put(redis, at("paid", "paid", cost_nano_usd=900), limits=limits)
    second = msgspec.structs.replace(request, attempt=2)
    assert await enqueue(redis, second, [at("other", "paid", cost_nano_usd=700)], options=options) == 0
    assert (await budget(redis))["held"] == 700
    third = msgspec.structs.replace(request, attempt=3)
    assert await enqueue(redis, third, [at("local")], options=options) == 0
    assert await budget(redis) == {}


async def test_a_waiting_job_moves_in_one_step(redis: Redis) -> None:
    """It is in one queue at any time, and where nothing has room it keeps its place."""
    _, request = await put(redis, at("local"))
    name = job_id(request.request_id, 1)
    waits_at, options = ("local", name), PlacementOptions(most_waiting=1)
    await put(redis, at("g", "gemini"))
    assert await enqueue(redis, request, [at("g", "gemini")], options=options, waits_at=waits_at, mode=Mode.MOVE) == -1
    assert await redis.zscore("local", name) is not None
    await claim(redis, "g")
    assert await enqueue(redis, request, [at("g", "gemini")], options=options, waits_at=waits_at, mode=Mode.MOVE) == 0
    assert await redis.zscore("local", name) is None
    (job,) = await claim(redis, "g")
    assert (job["request_id"], job["tier"], job["attempt"]) == (request.request_id, "gemini", 1)


async def test_a_job_never_runs_twice_however_the_race_ends(redis: Redis) -> None:
    """Claiming and moving at the same time: one of them has it."""
    for _ in range(50):
        _, request = await put(redis, at("local"))
        waits_at = ("local", job_id(request.request_id, 1))
        move = enqueue(
            redis,
            request,
            [at("g", "gemini")],
            options=PlacementOptions(most_waiting=10),
            waits_at=waits_at,
            mode=Mode.MOVE,
        )
        claimed, moved = await asyncio.gather(claim(redis, "local"), move)
        there = await claim(redis, "g")
        assert len(claimed) + len(there) == 1
        assert (moved is None) == bool(claimed)


async def test_looking_changes_nothing(redis: Redis) -> None:
    """It only says what would be chosen; the job itself need not be sent."""
    _, request = await put(redis, at("local"))
    waits_at, options = ("local", job_id(request.request_id, 1)), PlacementOptions(most_waiting=1)
    before = await redis.dbsize()
    look = {"options": options, "waits_at": waits_at, "mode": Mode.LOOK}
    assert await enqueue(redis, request, [at("g", "gemini")], **look) == 0  # type: ignore[arg-type]  # of several types
    assert await redis.dbsize() == before
    assert await redis.zcard("local") == 1
    await put(redis, at("g", "gemini"))
    assert await enqueue(redis, request, [at("g", "gemini")], **look) == -1  # type: ignore[arg-type]  # of several types
    await claim(redis, "local")
    assert await enqueue(redis, request, [at("g", "gemini")], **look) is None  # type: ignore[arg-type]  # of several types


async def test_the_bound_on_the_wait_holds_for_a_lone_candidate(redis: Redis) -> None:
    """A job does not move from one long queue into another."""
    for _ in range(50):
        await put(redis, at("b"))
    _, request = await put(redis, at("a"))
    waits_at = ("a", job_id(request.request_id, 1))
    other = at("b", slots=1, service_ms=5000, most_wait_ms=1000)
    assert (
        await enqueue(
            redis, request, [other], options=PlacementOptions(most_waiting=1000), waits_at=waits_at, mode=Mode.MOVE
        )
        == -1
    )


async def test_jobs_that_left_are_no_use_that_a_key_made(redis: Redis) -> None:
    """Its clients went away, or its jobs moved on: its next one is not behind the ghosts of these."""
    await put(redis, at("local"), request=draft("b"))
    for _ in range(100):
        _, request = await put(redis, at("local"), request=draft("a"))
        assert await withdraw(redis, "local", job_id(request.request_id, 1))
    _, single = await put(redis, at("local"), request=draft("a"))
    for key in ("b", "c") * 10:
        await put(redis, at("local"), request=draft(key))
    first = await claim(redis, "local", 5)  # one job of each other key before it, and two that may stand beside it
    assert single.request_id in {job["request_id"] for job in first}


async def test_an_expected_wait_is_that_of_the_keys_own_turn(redis: Redis) -> None:
    """Another key's backlog sends nobody to a paid tier who would be next at the local one; an urgent job neither."""
    local = at("local", slots=1, service_ms=1000, most_wait_ms=2500)
    route = (local, at("paid", "paid", rank=1))
    for _ in range(100):
        await put(redis, at("local"), request=draft("a"))
    assert (await put(redis, *route, request=draft("a")))[0] == "paid"
    assert (await put(redis, *route, request=draft("b")))[0] == "local"
    assert (await put(redis, *route, request=draft("a"), priority="high"))[0] == "local"


async def test_a_further_attempt_does_not_wait_for_its_turn_again(redis: Redis) -> None:
    """Its worker died: it is next, and its key is not charged twice."""
    await put(redis, at("local"), request=draft("a", request_id="00" * 16))
    for _ in range(20):
        await put(redis, at("local"), request=draft("a"))
    (job,) = await claim(redis, "local")
    again = draft("a", request_id=job["request_id"], attempt=2)
    assert await enqueue(redis, again, [at("local")], options=PlacementOptions(most_waiting=1000)) == 0
    assert (await claim(redis, "local"))[0]["request_id"] == job["request_id"]


async def test_no_key_fills_a_queue_for_the_others(redis: Redis) -> None:
    """The first job of another key has room in twice as long a queue; its second has not."""
    for _ in range(10):
        await put(redis, at("local"), request=draft("a"), most_waiting=10)
    await put(redis, at("local"), request=draft("b"), most_waiting=10)
    for key in ("a", "b"):
        with pytest.raises(Overloaded):
            await put(redis, at("local"), request=draft(key), most_waiting=10)
    for number in range(9):
        await put(redis, at("local"), request=draft(f"c{number}"), most_waiting=10)
    with pytest.raises(Overloaded):
        await put(redis, at("local"), request=draft("d"), most_waiting=10)


async def test_a_full_queue_passes_and_a_spent_budget_does_not(redis: Redis) -> None:
    """Where either would do, the client is told to come again."""
    route = (at("local"), at("paid", "paid", rank=1, cost_nano_usd=10))
    for _ in range(2):
        await put(redis, *route, most_waiting=2, limits=BudgetLimits(all_nano_usd=0))
    with pytest.raises(Overloaded) as raised:
        await put(redis, *route, most_waiting=2, limits=BudgetLimits(all_nano_usd=0))
    assert raised.value.code == "queue_full"


async def test_a_job_that_is_discarded_does_not_count_as_running(redis: Redis) -> None:
    """Nothing of it is left: it takes no slot of the expected wait."""
    _, request = await put(redis, at("local"))
    await claim(redis, "local")
    name = job_id(request.request_id, 1)
    assert await redis.zcard(running_key("local")) == 1
    await forget(redis, "local", name)
    assert await redis.exists(running_key("local"), job_key(name), in_progress_key(name)) == 0


async def test_running_jobs_count_again_after_an_outage(redis: Redis) -> None:
    """Redis was away for longer than they count; a claim in between does not forget them."""
    for _ in range(3):
        await put(redis, at("local"))
    await scripts.run(redis, scripts.CLAIM, ["local"], 2, "22" * 16, 60_000, -1000)
    running = await redis.zrange(running_key("local"), 0, -1)
    await claim(redis, "local")
    await scripts.run(redis, scripts.RENEW, [running_key("local")], 5000, *running)
    assert await redis.zcount(running_key("local"), time.time() * 1000, "+inf") == 3


async def test_an_attempt_whose_job_was_dropped_does_not_close_its_request(redis: Redis) -> None:
    """Its worker was taken for dead and comes back: the request is another attempt's, and so is the money."""
    _, request = await put(redis, at("paid", "paid", cost_nano_usd=900), limits=BudgetLimits(all_nano_usd=1000))
    await claim(redis, "paid")
    name = job_id(request.request_id, 1)
    await redis.delete(job_key(name), in_progress_key(name))
    second = msgspec.structs.replace(request, attempt=2)
    options = PlacementOptions(limits=BudgetLimits(all_nano_usd=1000), most_waiting=10)
    await enqueue(redis, second, [at("paid", "paid", cost_nano_usd=900)], options=options)
    assert not await finish(redis, request, "paid", 0, ClosingMode.HELD)
    assert (await budget(redis))["held"] == 900
    assert await finish(redis, second, "paid", 50, ClosingMode.HELD)
    assert (await budget(redis))["spent"] == 50


async def test_what_waits_for_a_paused_backend_has_its_turn_among_what_waits_for_another(redis: Redis) -> None:
    """Not after all of that, of which more may come for good; what waits for one that is not paused waits for help."""
    alike = [at(queue, slots=1, service_ms=1000) for queue in ("a", "b", "c")]
    asked = [draft() for _ in range(30)]
    where = [(await put(redis, *alike, request=request))[0] for request in asked]
    ids = [job_id(each.request_id, 1) for each in asked]
    of_a, of_b, of_c = ([each for each, place in zip(ids, where, strict=True) if place == queue] for queue in "abc")
    assert (len(of_a), len(of_b), len(of_c)) == (10, 10, 10)
    await claim(redis, "a")  # each first one had a free slot there
    await claim(redis, "c")
    for each in of_b[3:]:  # these came later than all that waits elsewhere
        await redis.zincrby("b", 60_000, each)

    async def take(count: int) -> list[str]:
        claimed = await scripts.run(redis, scripts.CLAIM, ["b"], count, WORKER, 60_000, 5_000, "help")
        return [each.decode() for each in claimed[::3]]

    assert await take(2) == of_b[:2], "nothing is paused"
    assert await take(2) == of_b[2:4], "its own first, whenever they came"
    await redis.hset(PAUSED, "a", "1")  # type: ignore[misc]  # redis-py: or awaitable
    assert await take(1) + await take(5) == of_a[1:7]
    assert await take(6) == of_a[7:] + of_b[4:7]
    assert sorted(await take(30)) == sorted(of_b[7:] + of_c[1:]), "what is left, each once"
