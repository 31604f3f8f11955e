"""The job of a request's present attempt in the queues: put in, moved, taken out again. Redis may be away meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.queue.arq_queue import withdraw
from shared.queue.placement import Mode, enqueue
from shared.redis.client import UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    from api.relay.incoming import IncomingStream
    from shared.queue.placement import Candidate, PlacementOptions
    from shared.types import JobDraft


class QueuedJob:
    """Knows in which queues the job may stand: a step that is cancelled may have been carried out.

    Args:
        redis: where the queues are.
        options: budgets and priority.
    """

    def __init__(self, redis: Redis, options: PlacementOptions) -> None:
        self._redis = redis
        self._options = options
        self._maybe_at: tuple[str, ...] = ()

    async def put(
        self, draft: JobDraft, live: Sequence[Candidate], *, instead_of: IncomingStream | None = None
    ) -> int | None:
        """Put a further attempt into a queue, or move the one that waits there; return its candidate's position.

        -1 when none has room or Redis is away, None when the attempt that was to move does not wait any more.
        """
        if instead_of is None:
            return await self._enqueue(draft, live)
        waits_at = (instead_of.target.queue, instead_of.job_id)
        # A look first: mostly nothing has room, and a job may be large.
        chosen = await self._enqueue(draft, live, waits_at=waits_at, mode=Mode.LOOK)
        if chosen is None or chosen < 0:
            return chosen
        return await self._enqueue(draft, live, waits_at=waits_at, mode=Mode.MOVE)

    def is_known(self) -> None:
        """Record that it is known where the job was put."""
        self._maybe_at = ()

    async def withdraw(self, stream: IncomingStream) -> bool:
        """Take the job out of its queue; return False when a worker has it already, or Redis is away."""
        try:
            for queue in {stream.target.queue, *self._maybe_at}:
                if await withdraw(self._redis, queue, stream.job_id):
                    return True
        except UNREACHABLE:
            pass
        return False

    async def _enqueue(
        self,
        draft: JobDraft,
        live: Sequence[Candidate],
        *,
        waits_at: tuple[str, str] | None = None,
        mode: Mode = Mode.ADD,
    ) -> int | None:
        self._maybe_at = tuple(candidate.target.queue for candidate in live)
        try:
            return await enqueue(self._redis, draft, live, options=self._options, waits_at=waits_at, mode=mode)
        except UNREACHABLE:
            return -1
