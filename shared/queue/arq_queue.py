"""The job queue: arq's keys, job format and lifecycle, with our own claiming, waking and finishing.

arq polls twice a second, takes five round trips a job and leaves running jobs among the waiting ones
(docs/decisions/0003-arq.md). Here one script claims, a message wakes, and the poll is a safety net.
A job in Redis is JSON: `{"t": try, "f": "attempt", "a": [], "et": enqueued ms, "k": Job}`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from arq.connections import ArqRedis
from arq.worker import Worker, func

from shared.process.log import REQUEST_ID
from shared.process.outage import OutageLog
from shared.process.tasks import work_beside
from shared.process.tracing.context import TRACE, TraceContext
from shared.queue.story import TAKEN_OVER, StoryEvent
from shared.redis import scripts
from shared.redis.client import UNREACHABLE
from shared.redis.names import in_progress_key, job_key, place_of_queue, running_key
from shared.types import Job, JobDraft, Target

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from arq.typing import WorkerCoroutine
    from redis.asyncio import Redis
    from redis.asyncio.client import Pipeline

_log = logging.getLogger(__name__)

POLL_S: Final = 2.0
"""Longest time until a job is claimed whose wake-up was lost, where a slot is free."""
RETRY_S: Final = 0.25
MOST_CLAIMED_BYTES: Final = 16 * 1024 * 1024
"""After so many bytes of jobs the others are left for the next claim: a server writes an answer in one go."""
IN_PROGRESS_MARGIN_MS: Final = 60_000
_FUNCTION: Final = "attempt"


class _ArqJob(msgspec.Struct):
    """arq's job JSON around ours."""

    k: Job


_decoder = msgspec.json.Decoder(_ArqJob)
_encode = msgspec.json.encode


def encode_heads(
    targets: Sequence[Target],
    last: Sequence[bool],
    story: Sequence[StoryEvent] = (),
    trace: TraceContext | None = None,
) -> list[bytes]:
    """Return the first part of the job JSON for each target; a script puts it together with what `encode_rest` makes.

    Args:
        targets: where it may go.
        last: whether each of them is the last resort.
        story: stands here, since of a job that moves the rest stays as it is in Redis.
        trace: the same, with when it was put there.
    """
    noted: dict[str, object] = {"story": story} if story else {}
    now_ms = int(time.time() * 1000)
    if trace is not None:
        noted["trace"] = msgspec.structs.replace(trace, queued_ms=now_ms)
    start = b'{"t":null,"f":"%s","a":[],"et":%d,"k":' % (_FUNCTION.encode(), now_ms)
    # Cut as text: a head ends before its closing brace, and the rest begins after its opening one.
    return [
        start + _encode({"tier": target.tier, "model": target.model, "is_last": is_last, **noted})[:-1]
        for target, is_last in zip(targets, last, strict=True)
    ]


def encode_rest(draft: JobDraft) -> bytes:
    """Return what the job JSON has in common wherever it goes; with the body, so it may be large."""
    rest = msgspec.structs.replace(draft, story=(), trace=None) if draft.story or draft.trace is not None else draft
    return b"," + _encode(rest)[1:] + b"}"


def decode_job(raw: bytes) -> Job:
    """Return the job in arq's JSON.

    Raises:
        msgspec.DecodeError, RecursionError: it is not one of ours.
    """
    return _decoder.decode(raw).k


class QueueWorker(Worker):
    """Runs the jobs of one queue, as many at a time as it has slots.

    Args:
        redis: its connections are shared, never closed here.
        queue: the queue's name.
        slots: gives how many jobs may run at once, asked for at each look.
        worker_id: hex digits of the process's id, written into the marks of its jobs.
        longest_s: how long a job may run at the most, in seconds.
        lease_s: for how long a job counts as running without `renew`, in seconds.
        run: runs one attempt to its end and reports it; must not raise.
        may_help: whether jobs that wait in other queues may be taken over now.
    """

    def __init__(
        self,
        redis: Redis,
        queue: str,
        *,
        slots: Callable[[], int],
        worker_id: str,
        longest_s: float,
        lease_s: float,
        run: Callable[[Job], Awaitable[None]],
        may_help: Callable[[], bool],
    ) -> None:
        async def attempt(_context: dict[Any, Any], job: Job) -> None:
            await run(job)

        super().__init__(
            functions=[func(cast("WorkerCoroutine", attempt), name=_FUNCTION, max_tries=1, keep_result=0)],
            queue_name=queue,
            # arq would make a pool of its own, without our bounds and checks for the master.
            redis_pool=ArqRedis(redis.connection_pool),
            # The process drains by itself; arq would cancel what runs.
            handle_signals=False,
            # arq asks for it; what counts is `slots`, asked at each look.
            max_jobs=slots(),
            job_timeout=longest_s,
            # The api alone decides about another try: two retry loops would multiply.
            max_tries=1,
            retry_jobs=False,
            keep_result=0,
            health_check_interval=30,
            job_serializer=_encode,
            job_deserializer=msgspec.json.decode,
        )
        self._worker_id = worker_id
        self._lease_ms = int(lease_s * 1000)
        self._may_help = may_help
        self._slots = slots
        self._wake = asyncio.Event()
        self._may_have_more = False
        self.jobs_taken_over = 0

    @property
    def running(self) -> int:
        """Return how many jobs run now."""
        return len(self.tasks)

    def wake(self) -> None:
        """Wake the loop to look for jobs now: one was announced, or a slot is free."""
        self._wake.set()

    def renew(self, pipeline: Pipeline) -> None:
        """Extend the running marks of the jobs that run, so that expected waits count them."""
        if self.tasks:
            scripts.add(pipeline, scripts.RENEW, [running_key(self.queue_name)], self._lease_ms, *self.tasks)

    def stop_claiming(self) -> None:
        """Stop claiming; jobs that run go on."""
        self.allow_pick_jobs = False
        self._wake.set()

    async def main(self) -> None:
        """Claim and start jobs until `stop_claiming`. Survives any absence of Redis."""
        outage = OutageLog(_log, "Redis", f"queue {self.queue_name}")
        while self.allow_pick_jobs:
            # Before the look: a wake-up that comes during it leads to another one.
            self._wake.clear()
            try:
                await self._claim()
                await self.record_health()
                outage.answered()
            except UNREACHABLE as error:
                outage.failed(error)
                await asyncio.sleep(RETRY_S)
                continue
            await self._wait()
        with suppress(*UNREACHABLE):
            await self._pass_on()

    async def _pass_on(self) -> None:
        """Wake another worker for what this one was woken for and does not take."""
        await scripts.run(self.pool, scripts.PASS_ON, [self.queue_name], self._worker_id)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(POLL_S):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _claim(self) -> None:
        free = self._slots() - len(self.tasks)
        if free <= 0:
            # The next slot that comes free looks again: there may be nobody to pass the wake-up on to.
            self._may_have_more = True
            await self._pass_on()
            return
        # Longer than any job runs: the mark must not expire under one that is still at work.
        mark_ms = IN_PROGRESS_MARGIN_MS + int(self.in_progress_timeout_s * 1000)
        claimed: list[bytes] = await scripts.run(
            self.pool,
            scripts.CLAIM,
            [self.queue_name],
            free,
            self._worker_id,
            mark_ms,
            self._lease_ms,
            "help" if self._may_help() else "",
            MOST_CLAIMED_BYTES,
        )
        # Three entries a job. All free slots were filled, so more may wait, for which nobody will be woken.
        self._may_have_more = len(claimed) >= 3 * free
        if sum(map(len, claimed[1::3])) >= MOST_CLAIMED_BYTES:
            self._wake.set()
        for position in range(0, len(claimed), 3):
            self._start(claimed[position].decode(), claimed[position + 1], claimed[position + 2].decode())

    def _start(self, job_id: str, raw: bytes, model: str) -> None:
        if job_id in self.tasks:
            # Redis lost its last second, and with it that the job was claimed.
            _log.warning("job %s came back while it runs: ignored", job_id)
            return
        task = self.loop.create_task(self._run(job_id, raw, model), name=job_id)
        self.tasks[job_id] = task
        task.add_done_callback(lambda _: self._ended(job_id))

    def _ended(self, job_id: str) -> None:
        self.tasks.pop(job_id, None)
        if self._may_have_more:
            self._wake.set()

    async def _run(self, job_id: str, raw: bytes, model: str) -> None:
        REQUEST_ID.set(job_id.partition("-")[0])
        try:
            job = await work_beside(len(raw), partial(decode_job, raw))
            if model:
                self.jobs_taken_over += 1
                # It waited in another queue, for a model that may have another name there.
                by = f"by {place_of_queue(self.queue_name)} ({model})"
                job = msgspec.structs.replace(job, model=model).noted(TAKEN_OVER, by)
        except (msgspec.MsgspecError, RecursionError):
            _log.exception("job %s cannot be read and is dropped", job_id)
            self.jobs_failed += 1
            await forget(self.pool, self.queue_name, job_id)
            return
        TRACE.set(job.trace)
        try:
            # Not by arq's `run_job`: that retries, stores results, and takes round trips of its own.
            await self.functions[_FUNCTION].coroutine({"job_id": job_id}, job)
        except Exception:  # noqa: BLE001 -- the backend must outlive a defect in one job
            _log.exception("job %s failed", job_id)
            self.jobs_failed += 1
        else:
            self.jobs_complete += 1


async def forget(redis: Redis, queue: str, job_id: str) -> None:
    """Remove a job that was claimed and will not be run.

    Raises:
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    pipeline = redis.pipeline(transaction=False)
    pipeline.delete(job_key(job_id), in_progress_key(job_id))
    pipeline.zrem(running_key(queue), job_id)
    await pipeline.execute()


async def withdraw(redis: Redis, queue: str, job_id: str) -> bool:
    """Take a waiting job out of its queue; False when it was claimed already.

    Raises:
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    return bool(await scripts.run(redis, scripts.WITHDRAW, [queue, job_key(job_id)], job_id))
