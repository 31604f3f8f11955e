"""Time from enqueue to pick-up: the bench plays an api process that enqueues jobs and listens for their first frame.

The pick-up itself is read off Valkey's clock: MONITOR shows, to the microsecond, when a job was put into its queue
and when a worker's claim took it out.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import msgspec

from api.routing.live_backends import Capacity
from bench.report import Report, table
from bench.stack import StackFailed, running
from shared.ids import new_request_id
from shared.queue.placement import Candidate, PlacementOptions, enqueue
from shared.redis import client as redis_client
from shared.redis.names import api_key, control_channel, relay_channel
from shared.redis.subscription import next_message, subscription
from shared.relay import EVERYTHING, ID_SIZE, Kind, Signal, attempt_key, decode_frames, encode_signal
from shared.types import JobDraft, Target

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis
    from redis.asyncio.client import Monitor

    from bench.report import Options
    from shared.redis.subscription import Subscription

MODEL: Final = "mock"
JOBS: Final = 300
WARM_JOBS: Final = 20
LONGEST_PAUSE_S: Final = 0.02
SILENCE_S: Final = 5.0
LIFE_MS: Final = 60_000
_BODY: Final = msgspec.Raw(b'{"model":"mock","stream":true,"messages":[{"role":"user","content":"count"}]}')


class Enqueuer:
    """An api process as far as the queue and the relay can tell."""

    def __init__(self, redis: Redis, target: Target) -> None:
        self.api_id = os.urandom(ID_SIZE)
        self._redis = redis
        self._target = target

    async def job(self, pubsub: Subscription) -> float:
        """Measure the milliseconds from before a job is enqueued until its worker's first frame is here."""
        request_id, now_ms = new_request_id(), int(time.time() * 1000)
        draft = JobDraft(
            request_id=request_id,
            attempt=1,
            api_id=self.api_id.hex(),
            endpoint="chat",
            requested_model=MODEL,
            stream=True,
            admitted_ms=now_ms,
            expires_ms=now_ms + LIFE_MS,
            body=_BODY,
        )
        began = time.perf_counter()
        await enqueue(self._redis, draft, [Candidate(target=self._target)], options=PlacementOptions(most_waiting=1000))
        key = attempt_key(request_id, 1)
        await self._until(pubsub, key, Kind.START)
        picked_up_ms = 1000 * (time.perf_counter() - began)
        worker = await self._until(pubsub, key, Kind.END)
        # Or the worker would keep the frames and send them again, beside what is measured.
        message = self.api_id + encode_signal(key, Signal.ACK, EVERYTHING)
        await self._redis.publish(control_channel(worker), message)
        return picked_up_ms

    async def hop(self, pubsub: Subscription) -> float:
        """Measure the milliseconds of one message to ourselves: what the first frame's way costs by itself."""
        began = time.perf_counter()
        await self._redis.publish(relay_channel(self.api_id), bytes(ID_SIZE))
        await next_message(pubsub, SILENCE_S)
        return 1000 * (time.perf_counter() - began)

    async def _until(self, pubsub: Subscription, key: bytes, wanted: Kind) -> bytes:
        """Read frames until the wanted one; the worker that sent it. A message may hold the start and the end."""
        while True:
            _, message = await next_message(pubsub, SILENCE_S)
            kinds = [kind for found, kind, *_ in decode_frames(message) if found == key]
            if Kind.ERROR in kinds:
                raise StackFailed("A job of the bench failed.")
            # A beat is the highest kind, and may come before the start.
            if any(kind >= wanted and kind != Kind.BEAT for kind in kinds):
                return message[:ID_SIZE]


async def pickup(options: Options) -> Report:
    """Measure p50 and p99 from enqueue to pick-up, one job at a time, at random moments."""
    report = Report("Pick-up: from enqueue to a worker's first frame, one job at a time (ms)")
    async with running() as stack:
        redis = redis_client.connect(stack.redis_url)
        try:
            target = await _target(redis)
            async with _claims(redis, target.queue) as claims:
                jobs, hops = await _measure(redis, Enqueuer(redis, target), JOBS * options.rounds)
            # The claims are seen from outside, so those of the warm-up are among them.
            waits = sorted(claims[WARM_JOBS:])
        finally:
            await redis_client.close(redis)
    report.raw = {"pick_up_ms": waits, "first_frame_ms": jobs, "hop_ms": hops}
    report.lines = table(
        ("", "p50", "p99", "most"),
        [
            ("enqueue to pick-up", *_percentiles(waits)),
            ("enqueue to first frame", *_percentiles(jobs)),
            ("one message alone", *_percentiles(hops)),
        ],
    )
    report.lines.append(
        "Pick-up: from the job's ZADD to the claim's ZPOPMIN, by Valkey's clock. Must be under 2 (p50). First frame: "
        "as an api process sees it, with the enqueueing script, the start of the upstream's call and the way back."
    )
    return report


@asynccontextmanager
async def _claims(redis: Redis, queue: str) -> AsyncIterator[list[float]]:
    """Yield a list of the milliseconds that each job waits in a queue, filled as they are claimed one at a time."""
    waits: list[float] = []

    async def watch(monitor: Monitor) -> None:
        enqueued: float | None = None
        while True:
            seen = await monitor.next_command()
            command = seen["command"].split(" ")
            # Both happen in scripts; MONITOR shows what they call with the type `lua`.
            if seen["client_type"] != "lua" or command[1:2] != [queue]:
                continue
            if command[0] == "ZADD":
                enqueued = seen["time"]
            elif command[0] == "ZPOPMIN" and enqueued is not None:
                waits.append(1000 * (seen["time"] - enqueued))
                enqueued = None

    async with redis.monitor() as monitor:
        watching = asyncio.create_task(watch(monitor))
        try:
            yield waits
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


async def _measure(redis: Redis, enqueuer: Enqueuer, count: int) -> tuple[list[float], list[float]]:
    jobs = []
    # As a live api process has it: a worker asks for it before it runs a job that has waited.
    await redis.set(api_key(enqueuer.api_id.hex()), b"1", px=10 * LIFE_MS)
    async with subscription(redis, relay_channel(enqueuer.api_id)) as pubsub:
        # Uncounted: connections, scripts and caches are made by the first ones.
        for _ in range(WARM_JOBS):
            await enqueuer.job(pubsub)
        for _ in range(count):
            # At random moments: a fixed rhythm could fall together with a worker's own.
            await asyncio.sleep(random.uniform(0, LONGEST_PAUSE_S))
            jobs.append(await enqueuer.job(pubsub))
        await asyncio.sleep(0.5)  # until the worker's last beats are through
        hops = [await enqueuer.hop(pubsub) for _ in range(count)]
    return sorted(jobs), sorted(hops)


async def _target(redis: Redis) -> Target:
    capacity = Capacity(redis)
    await capacity.refresh()
    for backend in capacity.backends("local"):
        if any(model.id == MODEL for model in backend.models):
            return Target("local", backend.queue, MODEL)
    raise StackFailed("No worker serves the mock upstream.")


def _percentiles(ordered: list[float]) -> tuple[str, str, str]:
    return tuple(f"{ordered[int(share * (len(ordered) - 1))]:.2f}" for share in (0.5, 0.99, 1))  # type: ignore[return-value]  # three of them
