"""Several hosts that can do the same: what waits for one is taken over by who is free first."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from api.routing.live_backends import CLOSED
from shared.errors import Overloaded
from shared.ids import job_id
from shared.queue.arq_queue import decode_job, withdraw
from shared.queue.placement import Candidate, Mode, PlacementOptions, enqueue
from shared.redis import scripts
from shared.redis.names import job_key, running_key, wake_channel
from shared.redis.subscription import next_message, subscription
from shared.types import Target
from tests.fleet import PATIENCE_S
from tests.integration.shared.queue.sample_jobs import at, claim, claim_as, draft, put

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from shared.types import JobDraft

LONG_MS = 60_000


async def taken(redis: Redis, queue: str, count: int = 1, *, helps: bool = True) -> list[tuple[str, str]]:
    """Request and model of the jobs that a worker of `queue` gets; the model only where it waited elsewhere."""
    how = "help" if helps else ""
    claimed = await scripts.run(redis, scripts.CLAIM, [queue], count, "22" * 16, LONG_MS, 5_000, how)
    return [
        (decode_job(raw).request_id, model.decode()) for raw, model in zip(claimed[1::3], claimed[2::3], strict=True)
    ]


def hosts(**fields: int) -> list[Candidate]:
    """Two with a slot each, that call their models as themselves."""
    return [
        Candidate(target=Target("local", queue, f"model-{queue}"), slots=1, service_ms=1000, **fields)
        for queue in ("a", "b")
    ]


async def both_busy(redis: Redis) -> None:
    """Give each host a job that runs."""
    for host in hosts():
        await put(redis, host)
        await claim(redis, host.target.queue)


async def one_waiting(redis: Redis) -> tuple[JobDraft, str, str]:
    """Return a job that waits for one of two busy hosts: itself, that host's queue, the other's."""
    await both_busy(redis)
    queue, request = await put(redis, *hosts())
    return request, queue, "b" if queue == "a" else "a"


def id_of(request: JobDraft) -> str:
    """Return its job."""
    return job_id(request.request_id, request.attempt)


async def test_who_is_free_first_takes_over_what_waits(redis: Redis) -> None:
    """With its own name of the model; it runs there then, and nowhere else."""
    request, queue, other = await one_waiting(redis)
    assert await taken(redis, other) == [(request.request_id, f"model-{other}")]
    assert await taken(redis, queue) == []
    assert await redis.zscore(running_key(other), id_of(request)) is not None
    assert await redis.zcard(queue) == 0


async def test_a_job_is_served_by_one_of_those_who_could(redis: Redis) -> None:
    """Whoever comes first, its own host too."""
    request, queue, other = await one_waiting(redis)
    assert await taken(redis, queue) == [(request.request_id, "")]
    assert await taken(redis, other) == []


async def test_what_waits_for_one_that_takes_nothing_is_taken_over_by_one_that_was_full(redis: Redis) -> None:
    """Its backend is paused, and has a free slot; the other has one again. One of another tier takes nothing over."""
    open_one, paused = (
        Candidate(target=Target("local", queue, f"model-{queue}"), slots=1, service_ms=1000, rank=rank)
        for queue, rank in (("a", 0), ("b", CLOSED))
    )
    other = Candidate(target=Target("gemini", "c", "model-c"), slots=1, service_ms=1000, rank=CLOSED + 10)
    await put(redis, open_one)
    await claim(redis, "a")
    _, waiting = await put(redis, open_one)
    queue, request = await put(redis, open_one, paused, other, most_waiting=1)
    assert queue == "b"
    assert await taken(redis, "c") == []
    assert await taken(redis, "a", 2) == [(waiting.request_id, ""), (request.request_id, "model-a")]


async def test_all_who_could_do_it_are_woken(redis: Redis) -> None:
    """One of them may have a slot that is free though Redis does not know it yet."""
    await both_busy(redis)
    for queue in ("a", "b"):
        assert await claim_as(redis, queue * 32, queue) == []
    channels = {wake_channel("a" * 32), wake_channel("b" * 32)}
    async with subscription(redis, *channels) as listener:
        await put(redis, *hosts())
        woken = {await next_message(listener, PATIENCE_S) for _ in channels}
    assert woken == {(wake_channel(name * 32).encode(), name.encode()) for name in ("a", "b")}


async def test_a_worker_that_cannot_help_takes_what_is_its_own(redis: Redis) -> None:
    """It leaves the rest to others."""
    request, queue, other = await one_waiting(redis)
    _, own = await put(redis, at(other))
    assert await taken(redis, other, 3, helps=False) == [(own.request_id, "")]
    assert await taken(redis, queue) == [(request.request_id, "")]


async def test_a_job_whose_words_are_gone_takes_nobodys_slot(redis: Redis) -> None:
    """Neither among one's own nor among what is taken over."""
    await both_busy(redis)
    lost = [await put(redis, *hosts()) for _ in range(4)]
    for _, request in lost:
        await redis.delete(job_key(id_of(request)))
    _, alive = await put(redis, hosts()[0])
    _, noted = await put(redis, hosts()[0], at("b", slots=1, service_ms=LONG_MS))
    assert [request_id for request_id, _ in await taken(redis, "a")] == [alive.request_id]
    assert [request_id for request_id, _ in await taken(redis, "b")] == [noted.request_id]


async def test_ones_own_jobs_come_first(redis: Redis) -> None:
    """What waits elsewhere is taken with the slots that are left."""
    request, _, other = await one_waiting(redis)
    _, own = await put(redis, at(other))
    assert await taken(redis, other, 3) == [(own.request_id, ""), (request.request_id, f"model-{other}")]


async def test_they_are_taken_over_in_the_order_of_their_turns(redis: Redis) -> None:
    """A key with many jobs does not starve another's single one on the helping host either."""
    busy, helping = hosts()
    for host in (busy, helping):
        await put(redis, host)
        await claim(redis, host.target.queue)
    # All of them wait for `busy`, since `helping` is said to be slow.
    slow = Candidate(target=helping.target, slots=1, service_ms=LONG_MS)
    many = [(await put(redis, busy, slow, request=draft("a")))[1] for _ in range(5)]
    _, single = await put(redis, busy, slow, request=draft("b"))
    first = [request_id for request_id, _ in await taken(redis, "b", 3)]
    assert many[0].request_id in first
    assert single.request_id in first


@pytest.mark.parametrize(
    "other",
    [
        at("other", slots=1, service_ms=LONG_MS, extra_ms=8000),
        at("other", "paid", slots=1, service_ms=LONG_MS, cost_nano_usd=1),
        at("other", slots=1, service_ms=LONG_MS, rank=1),
    ],
    ids=["its model has to be loaded", "it costs", "it is of another rank"],
)
async def test_nobody_takes_over_what_is_better_left(redis: Redis, other: Candidate) -> None:
    """The job waits for the queue that was chosen."""
    local = at("local", slots=1, service_ms=1000)
    await put(redis, local)
    await claim(redis, "local")
    await put(redis, at("other"))
    await claim(redis, "other")
    assert (await put(redis, local, other))[0] == "local"
    assert await taken(redis, "other") == []


async def test_what_is_gone_is_not_taken_over(redis: Redis) -> None:
    """Its client left, or it moved on to where something else takes it."""
    request, queue, other = await one_waiting(redis)
    assert await withdraw(redis, queue, id_of(request))
    waits_at, moving = await put(redis, *hosts())
    moved = await enqueue(
        redis,
        moving,
        [at("free", "gemini")],
        options=PlacementOptions(most_waiting=10),
        mode=Mode.MOVE,
        waits_at=(waits_at, id_of(moving)),
    )
    assert moved == 0
    assert await taken(redis, queue) == await taken(redis, other) == []
    assert len(await claim(redis, "free")) == 1


async def test_what_has_been_served_is_not_kept_for_ever(redis: Redis) -> None:
    """A host that is never free forgets what it could have taken over."""
    await both_busy(redis)
    slow = at("b", slots=1, service_ms=LONG_MS)
    for _ in range(50):
        assert (await put(redis, hosts()[0], slow))[0] == "a"
        assert len(await taken(redis, "a")) == 1
    assert await redis.zcard("claw:shared:b") <= 2


async def test_the_expected_wait_knows_that_hosts_help_each_other(redis: Redis) -> None:
    """Two hosts of 6 s are done twice as often as one: the first waiting job is expected to wait for 3 s, not 6."""
    bounded = [at(queue, slots=1, service_ms=6000, most_wait_ms=5000) for queue in ("a", "b")]
    await both_busy(redis)
    with pytest.raises(Overloaded):
        await put(redis, bounded[0])
    assert (await put(redis, *bounded, at("paid", "paid", rank=1)))[0] in {"a", "b"}
    assert (await put(redis, *bounded, at("paid", "paid", rank=1)))[0] == "paid", "two turns of 3 s"


async def test_a_host_with_work_of_its_own_is_not_expected_to_help_soon(redis: Redis) -> None:
    """It does all of that first, also what is less urgent: what is urgent waits there and not elsewhere."""
    await both_busy(redis)
    for _ in range(20):
        await put(redis, at("b"), priority="low")
    bounded = [
        at("a", slots=1, service_ms=6000, most_wait_ms=5000),
        at("b", slots=1, service_ms=6001, most_wait_ms=5000),
    ]
    route = (*bounded, at("paid", "paid", rank=1))
    assert (await put(redis, *route, priority="high"))[0] == "b"
    assert (await put(redis, *route, priority="low"))[0] == "paid"


async def test_the_bound_of_the_notes_keeps_those_whose_turn_is_next(redis: Redis) -> None:
    """What comes later, or is less urgent, makes room."""
    await both_busy(redis)
    slow = at("b", slots=1, service_ms=LONG_MS)
    for _ in range(8):
        await put(redis, hosts()[0], slow, priority="low")
    assert len(await taken(redis, "a", 8, helps=False)) == 8
    _, urgent = await put(redis, hosts()[0], slow, most_waiting=3, priority="high")
    assert await redis.zcard("claw:shared:b") == 6
    assert [request_id for request_id, _ in await taken(redis, "b")] == [urgent.request_id]


async def test_a_job_with_little_time_left_does_not_end_what_is_known_of_others(redis: Redis) -> None:
    """The notes live for as long as the last of them."""
    await both_busy(redis)
    slow, now_ms = at("b", slots=1, service_ms=LONG_MS), int(time.time() * 1000)
    await put(redis, hosts()[0], slow)
    await put(redis, hosts()[0], slow, request=draft(expires_ms=now_ms + 500))
    for key in ("claw:shared:b", "claw:fair:a:0"):
        assert await redis.pttl(key) > LONG_MS / 2


async def test_of_idle_hosts_the_fastest_is_taken(redis: Redis) -> None:
    """Whatever the order in which they are given."""
    fast, slow = at("fast", slots=4, service_ms=1000), at("slow", slots=4, service_ms=3000)
    for candidates in ((fast, slow), (slow, fast)):
        queue, _ = await put(redis, *candidates)
        await claim(redis, queue)
        assert queue == "fast"


async def test_of_hosts_that_are_alike_the_least_busy_is_taken(redis: Redis) -> None:
    """Many at once make each of them slower: two equal hosts share what comes."""
    alike = [at("a", slots=4, service_ms=1000), at("b", slots=4, service_ms=1000)]
    chosen = []
    for _ in range(6):
        queue, _ = await put(redis, *alike)
        await claim(redis, queue)
        chosen.append(queue)
    assert sorted(chosen) == ["a"] * 3 + ["b"] * 3
