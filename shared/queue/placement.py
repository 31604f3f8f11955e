"""Where an attempt goes: candidates, of which one step in Redis takes the first that has room and can be paid.

`lua/place.lua` does the choosing; `admit.lua` and `enqueue.lua` begin with it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from shared.ids import job_id
from shared.queue.arq_queue import encode_job
from shared.redis import scripts
from shared.redis.names import budget_key_at, job_key, owner_of
from shared.types import Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    from shared.types import JobDraft

MOST_ATTEMPTS: Final = 16
"""Of one request: one at each target, and a few because workers or accounts failed."""
PRIORITIES: Final = {"high": -1_500_000_000_000, "normal": 0, "low": 1_500_000_000_000}
"""What is added to a job's score: scores are milliseconds since 1970, so each priority has a range of its own."""


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
        """Whether anything has to be reserved."""
        return self.all_nano_usd is not None or self.key_nano_usd is not None


NO_BUDGET_LIMITS: Final = BudgetLimits()


class PlacementOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What all attempts of a request have in common.

    Args:
        limits: its budgets.
        priority: one of `PRIORITIES`.
        most_waiting: how many jobs may wait in a queue.
    """

    limits: BudgetLimits = NO_BUDGET_LIMITS
    priority: str = "normal"
    most_waiting: int


async def place(
    redis: Redis,
    script: str,
    draft: JobDraft,
    candidates: Sequence[Candidate],
    *,
    options: PlacementOptions,
    own_keys: tuple[str, str, str],
    own_arguments: tuple[str | bytes | int, str | bytes | int],
    is_move: bool = False,
    only_look: bool = False,
) -> Any:
    """Run `admit.lua` or `enqueue.lua`; returns what the script returns.

    Args:
        redis: where the queues are.
        script: one of the two.
        draft: the attempt.
        candidates: by rank.
        options: budgets and priority.
        own_keys: the script's own keys.
        own_arguments: its own arguments.
        is_move: the request could also stay where it is, so none of the candidates is its last resort.
        only_look: leave the job itself out, which may be large.

    Raises:
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    name = job_id(draft.request_id, draft.attempt)
    keys = [job_key(name), budget_key_at(draft.admitted_ms), *own_keys]
    targets = [candidate.target for candidate in candidates]
    if only_look:
        rest, heads = b"", [b""] * len(targets)
    else:
        rest, heads = encode_job(draft, targets, last=[False] * len(targets) if is_move else _last(candidates))
    limits = options.limits
    arguments: list[str | bytes | int] = [
        options.most_waiting,
        max(1000, draft.expires_ms - int(time.time() * 1000)),
        name,
        rest,
        draft.request_id,
        owner_of(draft.key_id),
        PRIORITIES[options.priority],
        "" if limits.all_nano_usd is None else limits.all_nano_usd,
        "" if limits.key_nano_usd is None else limits.key_nano_usd,
        *own_arguments,
    ]
    for candidate, head in zip(candidates, heads, strict=True):
        keys.append(candidate.target.queue)
        arguments += (
            candidate.rank,
            candidate.slots,
            candidate.service_ms,
            candidate.extra_ms,
            candidate.most_wait_ms,
            candidate.cost_nano_usd,
            head,
            candidate.target.model,
        )
    return await scripts.run(redis, script, keys, *arguments)


async def enqueue(
    redis: Redis,
    draft: JobDraft,
    candidates: Sequence[Candidate],
    *,
    options: PlacementOptions,
    instead_of: tuple[str, str] | None = None,
    only_look: bool = False,
) -> int | None:
    """Put a further attempt into a queue.

    Args:
        redis: where the queues are.
        draft: the attempt.
        candidates: by rank.
        options: budgets and priority.
        instead_of: the queue and job id of an attempt that waits, and is taken out in the same step.
        only_look: change nothing, and do not send the job itself.

    Returns:
        The position of the chosen candidate, -1 when none has room or can be paid, None when the attempt that it
        was to replace does not wait any more.

    Raises:
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    queue, name = instead_of or ("", "")
    chosen: int = await place(
        redis,
        scripts.ENQUEUE,
        draft,
        candidates,
        options=options,
        own_keys=(queue, job_key(name), ""),
        own_arguments=(name, "look" if only_look else ""),
        is_move=instead_of is not None,
        only_look=only_look,
    )
    return None if chosen == -1 else chosen - 1


def _last(candidates: Sequence[Candidate]) -> list[bool]:
    """For each candidate, whether it is the last resort: no other queue comes after it."""
    found: list[bool] = []
    later: set[str] = set()
    for candidate in reversed(candidates):
        queue = candidate.target.queue
        found.append(not later - {queue})
        later.add(queue)
    return found[::-1]
