"""Who is woken for a job, and which of many backends has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from api.admission.auth import Principal
from api.requests.queued_job import Moves, QueuedJob
from api.routing.shortlist import SHORTLIST, shortlist
from shared.queue.placement import PlacementOptions
from shared.redis import scripts
from shared.redis.names import idle_key, running_key, wake_channel
from shared.redis.subscription import next_message, subscription
from tests.fleet import PATIENCE_S
from tests.integration.shared.queue.sample_jobs import KEY, at, claim, claim_as, draft, put

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis.asyncio import Redis

    from api.routing.shortlist import Shortlist
    from shared.queue.placement import Candidate
    from shared.redis.subscription import Subscription

MANY = 50


def worker_ids(number: int) -> list[str]:
    """Ids of so many workers."""
    return [f"{place:032x}" for place in range(number)]


async def woken(listener: Subscription, queue: str) -> str:
    """Return the worker that was woken for a job in `queue`."""
    channel, message = await next_message(listener, PATIENCE_S)
    assert message == queue.encode()
    return channel.decode().removeprefix(wake_channel(""))


async def test_each_job_wakes_one_worker_that_is_idle(redis: Redis) -> None:
    """Another one each time, until one has looked again; who has no slot left is not woken."""
    names = worker_ids(3)
    async with subscription(redis, *map(wake_channel, names)) as listener:
        for name in names:
            assert await claim_as(redis, name, "q", 2) == []
        for _ in range(3):
            await put(redis, at("q"))
        assert {await woken(listener, "q") for _ in names} == set(names)
        assert len(await claim_as(redis, names[0], "q", 2)) == 2
        assert len(await claim_as(redis, names[1], "q", 2)) == 1
        await put(redis, at("q"))
        assert await woken(listener, "q") == names[1]
        await put(redis, at("q"))
        assert await redis.publish(wake_channel(names[0]), "last") == 1
        assert (await next_message(listener, PATIENCE_S))[1] == b"last", "nobody else was woken meanwhile"


async def test_one_that_is_gone_is_passed_over(redis: Redis) -> None:
    """Nobody hears for it: the job wakes one that is there."""
    *gone, alive = worker_ids(6)
    async with subscription(redis, wake_channel(alive)) as listener:
        for name in (*gone, alive):
            await claim_as(redis, name, "q")
        await put(redis, at("q"))
        assert await woken(listener, "q") == alive


async def test_who_is_woken_and_takes_nothing_wakes_another(redis: Redis) -> None:
    """It drains, or its slots have become fewer; with nothing to be done nobody is woken."""
    ending, other = worker_ids(2)
    async with subscription(redis, wake_channel(ending), wake_channel(other)) as listener:
        await claim_as(redis, ending, "q")
        await scripts.run(redis, scripts.PASS_ON, ["other"], ending)
        await put(redis, at("q"))
        assert await woken(listener, "q") == ending
        await claim_as(redis, other, "elsewhere")
        await redis.sadd(idle_key("q"), other)  # type: ignore[misc]  # redis-py: or awaitable
        await scripts.run(redis, scripts.PASS_ON, ["q"], ending)
        assert await woken(listener, "q") == other


class Look:
    """A router that saw all queues empty when it last looked."""

    def __init__(self) -> None:
        self.busy: list[str] = []

    def shortlist(self, candidates: list[Candidate]) -> Shortlist | None:
        """Choose by what is known."""
        return shortlist(candidates, lambda _: 0)

    def note_busy(self, candidates: Iterable[Candidate]) -> None:
        """Keep what is said."""
        self.busy += [candidate.target.queue for candidate in candidates]


async def admitted(redis: Redis, router: Look, candidates: list[Candidate]) -> str:
    """Admit a request; return its queue."""
    job = QueuedJob(redis, router, PlacementOptions(most_waiting=1000), Moves())  # type: ignore[arg-type]  # a double
    _, target = await job.admit(Principal(KEY, 0, admin_allowed=False), draft(), candidates)
    return target.queue


def backends(number: int, **fields: Any) -> list[Candidate]:
    """So many with a slot each."""
    return [at(f"q{place}", slots=1, service_ms=1000, **fields) for place in range(number)]


async def test_an_idle_backend_is_found_among_many_that_have_become_busy(redis: Redis) -> None:
    """What was seen at the last look is of no importance where a job would have to wait for it."""
    candidates = backends(MANY)
    for candidate in candidates[:-1]:
        await put(redis, candidate)
        await claim(redis, candidate.target.queue)
    for _ in range(5):
        router = Look()
        assert await admitted(redis, router, candidates) == candidates[-1].target.queue
        assert not router.busy or (len(router.busy) == SHORTLIST and candidates[-1].target.queue not in router.busy)
        await claim(redis, candidates[-1].target.queue)
        await redis.delete(running_key(candidates[-1].target.queue))


async def test_no_backend_with_room_is_overlooked(redis: Redis) -> None:
    """Full queues of a handful are no reason to refuse, nor to go on to the next tier."""
    candidates = [*backends(MANY), at("paid", "paid", rank=1, cost_nano_usd=1)]
    for candidate in candidates[:-2]:
        for _ in range(2):
            await put(redis, candidate, most_waiting=2)
    job = QueuedJob(redis, Look(), PlacementOptions(most_waiting=2), Moves())  # type: ignore[arg-type]  # a double
    _, target = await job.admit(Principal(KEY, 0, admin_allowed=False), draft(), candidates)
    assert target == candidates[-2].target
