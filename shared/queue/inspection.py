"""Looks into queues without changing them: a page of jobs at a time, and of each only what stands before its prompt."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from shared.ids import job_id
from shared.queue.placement import MOST_ATTEMPTS, PRIORITIES
from shared.queue.story import StoryEvent
from shared.redis.names import job_key, running_key
from shared.types import ModelName, Tier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

HEAD_BYTES: Final = 64 * 1024
"""More than all fields before the prompt take, the longest story included."""
OLDEST_OF: Final = 50
"""Among how many jobs at the front of a queue the oldest is looked for."""
# No text of JSON has a bare quote after a comma, so that none can look like the start of a field.
_PROMPT: Final = re.compile(rb',"(?:added|history|body)":')
_BOUNDARY: Final = 750_000_000_000
"""Half of what priorities are apart (`PRIORITIES`)."""


class JobHead(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of an attempt beside its prompt. Times are milliseconds since 1970."""

    tier: Tier
    model: str
    request_id: str
    attempt: int
    api_id: str
    endpoint: str
    requested_model: ModelName = msgspec.field(name="asked_model")
    stream: bool
    key_id: str | None = None
    admitted_ms: int
    story: tuple[StoryEvent, ...] = ()


class _ArqJob(msgspec.Struct):
    k: JobHead


_decoder: Final = msgspec.json.Decoder(_ArqJob)


class Place(NamedTuple):
    """The place of a job: its id, its position from 1 (0: it runs), and the score that it has there."""

    job: str
    position: int
    score: float

    @property
    def priority(self) -> str:
        """Return the priority of a job that waits."""
        now_ms = time.time() * 1000
        return next(name for name, added in PRIORITIES.items() if self.score - now_ms - added < _BOUNDARY)


class QueueCounts(NamedTuple):
    """Counts of jobs that wait and run, and when the oldest of those at the front was admitted, in ms since 1970."""

    waiting: int
    running: int
    oldest_ms: int | None


def head_of(raw: bytes) -> JobHead | None:
    """Return the head of a job from the first bytes of its JSON; None where that is not there, or not ours."""
    prompt = _PROMPT.search(raw)
    if prompt is None:
        return None
    try:
        # The braces of our job and of arq's, which stand behind the prompt.
        return _decoder.decode(raw[: prompt.start()] + b"}}").k
    except msgspec.MsgspecError:
        return None


def admitted_ms_of(job: str) -> int | None:
    """Return when the request of a job was admitted, which its id says (RFC 9562); None where it is no id of ours."""
    try:
        return int(job[:12], 16)
    except ValueError:
        return None


async def count(redis: Redis, queues: Sequence[str]) -> dict[str, QueueCounts]:
    """Return the counts of queues.

    Raises:
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    pipeline = redis.pipeline(transaction=False)
    now_ms = int(time.time() * 1000)
    for queue in queues:
        pipeline.zcard(queue)
        pipeline.zcount(running_key(queue), now_ms, "+inf")
        pipeline.zrange(queue, 0, OLDEST_OF - 1)
    answers = await pipeline.execute() if queues else []
    found = {}
    for number, queue in enumerate(queues):
        waiting, running, front = answers[3 * number : 3 * number + 3]
        known = [admitted for job in front if (admitted := admitted_ms_of(job.decode())) is not None]
        found[queue] = QueueCounts(waiting, running, min(known, default=None))
    return found


async def waiting(redis: Redis, queue: str, start: int, most: int) -> list[Place]:
    """Return the jobs that wait in a queue from a position on, counted from 0, in the order of their turns.

    Raises:
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    found = await redis.zrange(queue, start, start + most - 1, withscores=True)
    return [Place(job.decode(), start + number + 1, score) for number, (job, score) in enumerate(found)]


async def running(redis: Redis, queue: str, start: int, most: int) -> list[Place]:
    """Return the jobs of a queue that run, from a position on, counted from 0.

    Raises:
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    now_ms = int(time.time() * 1000)
    found = await redis.zrangebyscore(running_key(queue), now_ms, "+inf", start, most, withscores=True)
    return [Place(job.decode(), 0, score) for job, score in found]


async def heads(redis: Redis, jobs: Sequence[str]) -> list[JobHead | None]:
    """Return the head of each job; None of one that has ended, or was large and runs: its worker alone has it then.

    Raises:
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    pipeline = redis.pipeline(transaction=False)
    for job in jobs:
        pipeline.getrange(job_key(job), 0, HEAD_BYTES - 1)
    return [head_of(raw) for raw in await pipeline.execute()] if jobs else []


async def present_job(redis: Redis, request_id: str) -> str | None:
    """Return the id of the job of a request, its last one; None where it has none in Redis.

    Raises:
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    names = [job_id(request_id, attempt) for attempt in range(1, MOST_ATTEMPTS + 1)]
    pipeline = redis.pipeline(transaction=False)
    for name in names:
        pipeline.exists(job_key(name))
    present = [name for name, exists in zip(names, await pipeline.execute(), strict=True) if exists]
    return present[-1] if present else None
