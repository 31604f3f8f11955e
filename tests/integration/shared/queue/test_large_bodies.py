"""Bodies over 64 KiB: reserved first, stored second, counted while they wait, and never sent to be refused."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from api.accounting.usage_log import UsageLogWriter
from api.admission.admit import QueueUnavailable, admit
from api.admission.auth import Principal
from shared.errors import GatewayError, Overloaded, RateLimited
from shared.ids import job_id
from shared.queue import arq_queue
from shared.queue.arq_queue import QueueWorker, decode_job, withdraw
from shared.queue.placement import LARGE_BYTES, BudgetLimits, Mode, PlacementOptions, enqueue
from shared.redis import scripts
from shared.redis.names import WAITING_BYTES, arriving_key, job_key, open_requests, rate_key
from tests.integration.shared.queue.sample_jobs import API, KEY, WORKER, at, budget, claim, draft, put, record_of

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from shared.types import Job, JobDraft

MIB = 1024 * 1024
OTHER = "7e57ab1e-0000-4000-8000-000000000002"


def large(key_id: str = KEY, *, size: int = MIB, **fields: Any) -> JobDraft:
    """Return an attempt whose body has so many bytes."""
    return draft(key_id, body=msgspec.Raw(b'"' + b"x" * (size - 2) + b'"'), **fields)


async def waiting_bytes(redis: Redis) -> dict[str, int]:
    """Return the sums of queues and owners."""
    found: dict[bytes, bytes] = await redis.hgetall(WAITING_BYTES)  # type: ignore[misc]  # redis-py: or awaitable
    return {name.decode(): int(size) for name, size in found.items() if name[1:2] == b":"}


async def test_a_large_body_has_the_time_that_it_takes_and_not_that_of_a_frozen_redis(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine 20 MiB take longer than the answer that they have a place."""
    run, bound_s = scripts.run, 2.5
    monkeypatch.setattr("api.admission.admit.ADMIT_TIMEOUT_S", bound_s)

    async def slow(client: Redis, script: str, *arguments: Any) -> Any:
        if script == scripts.STORE_BODY:
            await asyncio.sleep(1.2 * bound_s)
        return await run(client, script, *arguments)

    monkeypatch.setattr(scripts, "run", slow)
    admitted = await admit(
        redis,
        Principal(KEY, 5, admin_allowed=False),
        large(),
        candidates=[at("q")],
        options=PlacementOptions(most_waiting=1),
    )
    assert admitted.candidate == 0
    monkeypatch.setattr(scripts, "run", run)
    assert len(await claim(redis, "q")) == 1


@pytest.mark.parametrize("size", [LARGE_BYTES - 1, LARGE_BYTES, LARGE_BYTES + 1, MIB])
async def test_a_body_arrives_whole_whatever_its_size(redis: Redis, size: int) -> None:
    """In one step or two; of a large one nothing stays in Redis once it is claimed, but the key of its job."""
    _, request = await put(redis, at("q"), request=large(size=size))
    assert (await waiting_bytes(redis) == {"q:q": size, f"k:{KEY}": size}) == (size > LARGE_BYTES)
    (job,) = await claim(redis, "q")
    assert msgspec.json.encode(job["body"]) == bytes(request.body)
    assert await redis.exists(WAITING_BYTES) == 0
    name = job_key(job_id(request.request_id, 1))
    assert await redis.exists(name)
    assert await redis.pttl(name) > 0
    if size > LARGE_BYTES:
        assert await redis.get(name) == b""


async def test_large_jobs_that_are_claimed_together_are_decoded_beside_the_event_loop(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dozen of 7 MiB would hold it for the sum of what each takes; small ones take no thread."""
    sizes = [LARGE_BYTES * 2] * 3 + [1000] * 3
    for size in sizes:
        await put(redis, at("q"), request=large(size=size))
    in_loop: list[tuple[int, bool]] = []
    done: asyncio.Queue[int] = asyncio.Queue()

    def decode(raw: bytes) -> Job:
        job = decode_job(raw)
        in_loop.append((len(job.body), threading.current_thread() is threading.main_thread()))
        return job

    async def run(job: Job) -> None:
        done.put_nowait(len(job.body))

    monkeypatch.setattr(arq_queue, "decode_job", decode)
    worker = QueueWorker(
        redis, "q", slots=lambda: len(sizes), worker_id=WORKER, longest_s=60, lease_s=60, run=run, may_help=lambda: True
    )
    working = asyncio.create_task(worker.main())
    assert sorted([await done.get() for _ in sizes]) == sorted(sizes)
    worker.stop_claiming()
    await working
    assert sorted(in_loop) == sorted((size, size < LARGE_BYTES) for size in sizes)


async def test_a_claim_ends_once_it_has_enough_bytes(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others come with the next one, at once and in order, however many slots are free."""
    monkeypatch.setattr(arq_queue, "MOST_CLAIMED_BYTES", 2 * MIB)
    asked = [(await put(redis, at("q"), request=large()))[1].request_id for _ in range(5)]
    at_once: list[int] = []
    claimed: asyncio.Queue[str] = asyncio.Queue()

    async def run(job: Job) -> None:
        claimed.put_nowait(job.request_id)

    async def counting(redis: Redis, script: str, keys: list[str], *arguments: Any) -> Any:
        answer = await scripts_run(redis, script, keys, *arguments)
        if script == scripts.CLAIM:
            at_once.append(len(answer) // 3)
        return answer

    scripts_run = scripts.run
    monkeypatch.setattr(scripts, "run", counting)
    worker = QueueWorker(
        redis, "q", slots=lambda: 9, worker_id=WORKER, longest_s=60, lease_s=60, run=run, may_help=lambda: True
    )
    working = asyncio.create_task(worker.main())
    assert sorted([await claimed.get() for _ in asked]) == sorted(asked)
    worker.stop_claiming()
    await working
    assert at_once[:3] == [2, 2, 1]


@pytest.mark.parametrize("ends", ["withdrawn", "claimed", "moved"])
async def test_what_waits_no_more_counts_no_more(redis: Redis, ends: str) -> None:
    """Of many, in any way that they end."""
    requests = [(await put(redis, at("q"), request=large()))[1] for _ in range(3)]
    for request in requests:
        name = job_id(request.request_id, 1)
        if ends == "withdrawn":
            assert await withdraw(redis, "q", name)
        elif ends == "claimed":
            await claim(redis, "q")
        else:
            options = PlacementOptions(most_waiting=10)
            waits_at = ("q", name)
            assert await enqueue(redis, request, [at("r")], options=options, waits_at=waits_at, mode=Mode.MOVE) == 0
    moved = {"q:r": 3 * MIB, f"k:{KEY}": 3 * MIB}
    assert await waiting_bytes(redis) == (moved if ends == "moved" else {})
    if ends == "moved":
        assert [len(job["body"]) for job in await claim(redis, "r", 3)] == [MIB - 2] * 3, "they were not sent again"
        assert await redis.exists(WAITING_BYTES) == 0


async def test_bytes_are_bounded_for_each_key_and_each_queue(redis: Redis) -> None:
    """A key has half of what a queue takes; small requests of the same key go on, and so does what has other queues."""
    bounds: dict[str, Any] = {"most_waiting_bytes": 4 * MIB}
    for key_id in (KEY, OTHER):
        for _ in range(2):
            await put(redis, at("q"), request=large(key_id), **bounds)
        with pytest.raises(RateLimited) as limited:
            await put(redis, at("elsewhere"), request=large(key_id), **bounds)
        assert limited.value.code == "too_many_bytes_waiting"
    third = "7e57ab1e-0000-4000-8000-000000000003"
    with pytest.raises(Overloaded) as full:
        await put(redis, at("q"), request=large(third), **bounds)
    assert full.value.code == "queue_bytes_full"
    assert (await put(redis, at("q"), at("r", rank=1), request=large(third), **bounds))[0] == "r"
    assert (await put(redis, at("q"), **bounds))[0] == "q"


async def test_what_nobody_waits_for_keeps_no_bytes(redis: Redis) -> None:
    """Its JSON is gone with its api: room is made where it is missing."""
    for _ in range(2):
        _, request = await put(redis, at("q"), request=large(), most_waiting_bytes=4 * MIB)
        await redis.delete(job_key(job_id(request.request_id, 1)))
    await put(redis, at("q"), request=large(), most_waiting_bytes=4 * MIB)
    assert await waiting_bytes(redis) == {"q:q": MIB, f"k:{KEY}": MIB}


async def test_a_refused_body_is_never_sent(redis: Redis) -> None:
    """Past its limit, or where nothing has room."""
    await redis.config_resetstat()
    await put(redis, at("q"), most_waiting=1)
    for _ in range(5):
        with pytest.raises(GatewayError):
            await put(redis, at("q"), request=large(), most_waiting=1)
    received = (await redis.info("stats"))["total_net_input_bytes"]
    assert received < MIB / 2


async def test_a_job_is_claimed_when_its_body_is_there(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before that it keeps its place, whoever looks, here and at a host that could take it over."""
    run, looks = scripts.run, 0

    async def looked_at(client: Redis, script: str, *arguments: Any) -> Any:
        nonlocal looks
        if script == scripts.STORE_BODY:
            monkeypatch.setattr(scripts, "run", run)
            for queue in ("a", "b"):
                assert await claim(redis, queue, 5) == []
                looks += 1
        return await run(client, script, *arguments)

    hosts = [at(queue, slots=1, service_ms=1000) for queue in ("a", "b")]
    for host in hosts:
        await put(redis, host)
        await claim(redis, host.target.queue)
    monkeypatch.setattr(scripts, "run", looked_at)
    queue, request = await put(redis, *hosts, request=large())
    assert looks == 2
    assert [job["request_id"] for job in await claim(redis, queue)] == [request.request_id]


async def test_a_failed_second_step_gives_everything_back(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Place, reservation, the key's minute and the open request; the body comes too late, should it come at all."""
    run = scripts.run
    late: list[tuple[Any, ...]] = []

    async def failing(client: Redis, script: str, *arguments: Any) -> Any:
        if script == scripts.STORE_BODY:
            late.append(arguments)
            raise ConnectionError
        return await run(client, script, *arguments)

    monkeypatch.setattr(scripts, "run", failing)
    request = large()
    paid = at("paid", "paid", cost_nano_usd=900)
    options = PlacementOptions(limits=BudgetLimits(all_nano_usd=1000), most_waiting=1)
    with pytest.raises(QueueUnavailable):
        await admit(redis, Principal(KEY, 5, admin_allowed=False), request, candidates=[paid], options=options)
    monkeypatch.setattr(scripts, "run", run)
    writer = UsageLogWriter(redis, API)
    writer.refuse_unconfirmed(record_of(request), job_id(request.request_id, 1))
    await writer.stop()
    assert await budget(redis) == {}
    assert await redis.exists(rate_key(KEY), open_requests(API), arriving_key(job_id(request.request_id, 1))) == 0
    assert await scripts.run(redis, scripts.STORE_BODY, *late[0]) == 0
    await put(redis, paid, most_waiting=1)
    assert await redis.exists(WAITING_BYTES) == 0
    assert len(await claim(redis, "paid", 5)) == 1
