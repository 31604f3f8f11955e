"""Placement of an attempt: candidates, of which one step in Redis takes the first that has room and can be paid.

`lua/place.lua` does the choosing; `admit.lua` and `enqueue.lua` begin with it.
"""

from __future__ import annotations

import time
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from shared.ids import job_id
from shared.models.catalogue import nano_usd
from shared.process.tasks import work_beside
from shared.queue.arq_queue import encode_heads, encode_rest
from shared.redis import scripts
from shared.redis.names import (
    API_SET,
    BACKGROUND_API,
    budget_key_at,
    job_key,
    open_requests,
    owner_of,
    since_key,
)
from shared.types import Target
from shared.usage import UsageRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis.asyncio import Redis

    from shared.types import JobDraft

LARGE_BYTES: Final = 65_536
"""A body over this goes to Redis in a step of its own, once the first has reserved all that it needs; and such bodies
are counted while they wait (`lua/bytes.lua`)."""
MOST_WAITING_BYTES: Final = 256 * 1024 * 1024
MOST_ATTEMPTS: Final = 16
"""Of one request: one at each target, and a few because workers or accounts failed."""
PRIORITIES: Final = {"high": -1_500_000_000_000, "normal": 0, "low": 1_500_000_000_000}
"""Offsets of a job's score: scores are milliseconds since 1970, so each priority has a range of its own."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A target that a request may go to.

    Args:
        target: tier, queue and model.
        rank: only the best (lowest) rank with room is looked at, and in it what begins first is taken.
        slots: how many attempts run there at once.
        service_ms: how long one takes there.
        extra_ms: how much longer this one takes, because its model has to be loaded.
        most_wait_ms: the longest expected wait at which it is still chosen; 0 for any.
        cost_nano_usd: what is reserved of the budgets, in billionths of a US dollar.
    """

    target: Target
    rank: int = 0
    slots: int = 1
    service_ms: int = 0
    extra_ms: int = 0
    most_wait_ms: int = 0
    cost_nano_usd: int = 0


class BudgetLimits(msgspec.Struct, frozen=True):
    """The monthly budgets that a request counts for, in billionths of a US dollar; None is no limit."""

    all_nano_usd: int | None = None
    key_nano_usd: int | None = None

    @property
    def is_limited(self) -> bool:
        """Return whether anything has to be reserved."""
        return self.all_nano_usd is not None or self.key_nano_usd is not None


NO_BUDGET_LIMITS: Final = BudgetLimits()


class PlacementOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options that all attempts of a request have in common.

    Args:
        limits: its budgets.
        priority: one of `PRIORITIES`.
        most_waiting: how many jobs may wait in a queue.
        most_waiting_bytes: how many bytes of large bodies may wait in a queue; of one owner half of that, in all.
        shortened: how many candidates a rank has of which some were left out; 0 where none was.
        must_begin: whether the attempt must begin at once in such a rank; else that must have room for it.
    """

    limits: BudgetLimits = NO_BUDGET_LIMITS
    priority: str = "normal"
    most_waiting: int
    most_waiting_bytes: int = MOST_WAITING_BYTES
    shortened: int = 0
    must_begin: bool = False


class MoreNeeded(Exception):
    """Nothing was done: the candidates that were left out may serve better."""


class Mode(StrEnum):
    """The mode of `enqueue`."""

    ADD = "add"
    """It is a further one."""
    MOVE = "move"
    """It waits in a queue, and is taken out of that in the same step."""
    LOOK = "look"
    """As MOVE, but nothing is changed, and the job itself, which may be large, is not sent."""


async def place(
    redis: Redis,
    script: str,
    draft: JobDraft,
    candidates: Sequence[Candidate],
    *,
    options: PlacementOptions,
    keys: Sequence[str],
    arguments: Sequence[str | bytes | int],
    mode: Mode = Mode.ADD,
    before_body: Callable[[], object] = bool,  # bool() does nothing
) -> Any:
    """Run `admit.lua` or `enqueue.lua`, then store a large body; return what the script returns.

    Args:
        redis: where the queues are.
        script: one of the two.
        draft: the attempt.
        candidates: by rank.
        options: budgets and priority.
        keys: the script's own keys.
        arguments: its own arguments.
        mode: a job that is moved could also stay where it is, so none of the candidates is its last resort.
        before_body: called where a large body follows, which takes the time of its bytes.

    Raises:
        MoreNeeded: candidates were left out, and those that are here do not do.
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    name = job_id(draft.request_id, draft.attempt)
    targets = [candidate.target for candidate in candidates]
    size = draft.size_bytes
    is_large = size > LARGE_BYTES
    last = _last(candidates) if mode is Mode.ADD else [False] * len(targets)
    limits = options.limits
    # Redis refuses a life of 0, which is what a request has left that waited to the end.
    life_ms = max(1000, draft.expires_ms - int(time.time() * 1000))
    all_keys = [job_key(name), budget_key_at(draft.admitted_ms), *(target.queue for target in targets), *keys]
    all_arguments: list[str | bytes | int] = [
        len(candidates),
        options.most_waiting,
        life_ms,
        name,
        # Only an attempt that is added brings its body, and a large one later.
        b"" if is_large or mode is not Mode.ADD else encode_rest(draft),
        draft.request_id,
        owner_of(draft.key_id),
        PRIORITIES[options.priority],
        "" if limits.all_nano_usd is None else limits.all_nano_usd,
        "" if limits.key_nano_usd is None else limits.key_nano_usd,
        options.shortened,
        "now" if options.must_begin else "",
        size if is_large else 0,
        options.most_waiting_bytes,
        options.most_waiting_bytes // 2,
        nano_usd(draft.earlier_cost_usd),
    ]
    for candidate, head in zip(candidates, encode_heads(targets, last, draft.story, draft.trace), strict=True):
        all_arguments += (
            candidate.rank,
            candidate.slots,
            candidate.service_ms,
            candidate.extra_ms,
            candidate.most_wait_ms,
            candidate.cost_nano_usd,
            head,
            candidate.target.model,
        )
    answer = await scripts.run(redis, script, all_keys, *all_arguments, *arguments)
    # admit.lua answers with a list, enqueue.lua with a number.
    if answer in ([b"more"], -2):
        raise MoreNeeded
    chosen = _chosen(answer)
    if is_large and mode is Mode.ADD and chosen > 0:
        before_body()
        queue = targets[chosen - 1].queue
        rest = await work_beside(size, partial(encode_rest, draft))
        if not await scripts.run(redis, scripts.STORE_BODY, [queue, job_key(name)], name, rest, life_ms):
            # One of `UNREACHABLE`: for the request it is as if Redis had not answered.
            raise TimeoutError("the place in the queue was given back before the body was there")
    return answer


def _chosen(answer: Any) -> int:
    """Return which candidate a script chose, from 1; 0 or less where it chose none."""
    if isinstance(answer, int):
        return answer
    return int(answer[1]) if answer[0] == b"ok" else 0


async def enqueue(
    redis: Redis,
    draft: JobDraft,
    candidates: Sequence[Candidate],
    *,
    options: PlacementOptions,
    waits_at: tuple[str, str] | None = None,
    mode: Mode = Mode.ADD,
) -> int | None:
    """Put a further attempt into a queue, or move one that waits; open its request where Redis has lost it.

    Args:
        redis: where the queues are.
        draft: the attempt.
        candidates: by rank.
        options: budgets and priority.
        waits_at: to move or look: the queue and job id of the attempt that waits.
        mode: what is done.

    Returns:
        The position of the chosen candidate, -1 when none has room or can be paid, None when the attempt that was to
        be moved does not wait any more.

    Raises:
        MoreNeeded: candidates were left out, and those that are here do not do.
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    keys = [open_requests(draft.api_id), API_SET, since_key(draft.api_id)]
    record = msgspec.json.encode(UsageRecord.opened(draft))
    arguments: list[str | bytes | int] = [mode.value, record, mortal(draft.api_id), draft.admitted_ms]
    if waits_at is not None:
        keys += (waits_at[0], job_key(waits_at[1]))
        arguments.append(waits_at[1])
    chosen: int = await place(
        redis, scripts.ENQUEUE, draft, candidates, options=options, keys=keys, arguments=arguments, mode=mode
    )
    return None if chosen == -1 else chosen - 1


def mortal(api_id: str) -> str:
    """Return the id of an api process that can die; nothing for `BACKGROUND_API`."""
    return "" if api_id == BACKGROUND_API else api_id


def _last(candidates: Sequence[Candidate]) -> list[bool]:
    """Return for each candidate whether it is the last resort: no other queue comes after it."""
    found: list[bool] = []
    later: set[str] = set()
    for candidate in reversed(candidates):
        queue = candidate.target.queue
        found.append(not later - {queue})
        later.add(queue)
    return found[::-1]
