"""The job of a request's present attempt in the queues: put in, moved, taken out again. Redis may be away meanwhile.

Of many candidates a handful is asked first (`api/routing/shortlist.py`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec

from api.admission.admit import admit
from api.routing.shortlist import SHORTLIST
from shared.queue.arq_queue import withdraw
from shared.queue.placement import Mode, MoreNeeded, enqueue
from shared.redis.client import UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from redis.asyncio import Redis

    from api.admission.admit import Admitted
    from api.admission.auth import Principal
    from api.relay.incoming import IncomingStream
    from api.routing.router import Router
    from shared.queue.placement import Candidate, PlacementOptions
    from shared.types import JobDraft, Target

    _Ask = Callable[[Sequence[Candidate], PlacementOptions], Awaitable["_Answer"]]

_Answer = TypeVar("_Answer")


@dataclass
class Moves:
    """Counts of one api process's jobs that went elsewhere: after a failed attempt, or since they waited too long."""

    fail_overs: int = 0
    overflows: int = 0


def patience_s(draft: JobDraft, longest_s: float) -> float:
    """Return for how many seconds a job may wait from now on, which is `longest_s` at most."""
    return min(longest_s, draft.patient_until_ms / 1000 - time.time()) if draft.patient_until_ms else longest_s


class QueuedJob:
    """Knows in which queues the job may stand: a step that is cancelled may have been carried out.

    Args:
        redis: where the queues are.
        router: knows which of many candidates to ask.
        options: budgets and priority.
        moves: counts what goes elsewhere.
    """

    def __init__(self, redis: Redis, router: Router, options: PlacementOptions, moves: Moves) -> None:
        self._redis = redis
        self._moves = moves
        self._router = router
        self._options = options
        self._maybe_at: tuple[str, ...] = ()

    async def admit(
        self, principal: Principal, draft: JobDraft, candidates: Sequence[Candidate]
    ) -> tuple[Admitted, Target]:
        """Admit the request and put its first attempt into a queue; return where.

        Raises:
            GatewayError: it was refused; nothing was consumed.
        """

        async def ask(offered: Sequence[Candidate], options: PlacementOptions) -> tuple[Admitted, Target]:
            admitted = await admit(self._redis, principal, draft, candidates=offered, options=options)
            return admitted, offered[admitted.candidate].target

        return await self._with_few(candidates, ask)

    async def put(
        self, draft: JobDraft, live: Sequence[Candidate], *, instead_of: IncomingStream | None = None
    ) -> Target | Literal[False] | None:
        """Put a further attempt into a queue, or move the one that waits there; return where.

        False when none has room or Redis is away, None when the attempt that was to move does not wait any more.
        """
        if instead_of is None:
            target = await self._enqueue(draft, live)
            self._moves.fail_overs += bool(target)
            return target
        waits_at = (instead_of.target.queue, instead_of.job_id)
        # A look first: mostly nothing has room, and a job may be large.
        chosen = await self._enqueue(draft, live, waits_at=waits_at, mode=Mode.LOOK)
        if not chosen:
            return chosen
        moved = await self._enqueue(draft, live, waits_at=waits_at, mode=Mode.MOVE)
        self._moves.overflows += bool(moved)
        return moved

    def is_known(self) -> None:
        """Record that it is known where the job was put."""
        self._maybe_at = ()

    async def withdraw(self, stream: IncomingStream) -> bool | None:
        """Take the job out of its queue; return False when a worker has it already, None while Redis is away."""
        try:
            for queue in {stream.target.queue, *self._maybe_at}:
                if await withdraw(self._redis, queue, stream.job_id):
                    return True
        except UNREACHABLE:
            return None
        return False

    async def _enqueue(
        self,
        draft: JobDraft,
        live: Sequence[Candidate],
        *,
        waits_at: tuple[str, str] | None = None,
        mode: Mode = Mode.ADD,
    ) -> Target | Literal[False] | None:
        # Before the await: a call that is cancelled or times out may have been carried out, at any of these.
        self._maybe_at = tuple(candidate.target.queue for candidate in live)

        async def ask(offered: Sequence[Candidate], options: PlacementOptions) -> Target | Literal[False] | None:
            chosen = await enqueue(self._redis, draft, offered, options=options, waits_at=waits_at, mode=mode)
            return None if chosen is None else chosen >= 0 and offered[chosen].target

        try:
            return await self._with_few(live, ask)
        except UNREACHABLE:
            return False

    async def _with_few(self, candidates: Sequence[Candidate], ask: _Ask[_Answer]) -> _Answer:
        """Ask with the most promising of many candidates, and with all where those do not do."""
        few = self._router.shortlist(candidates)
        if few is not None:
            options = msgspec.structs.replace(self._options, shortened=SHORTLIST, must_begin=few.must_begin)
            try:
                return await ask(few.candidates, options)
            except MoreNeeded:
                # Redis has just said that none of them can begin at once: the next request need not ask for them.
                if few.must_begin:
                    self._router.note_busy(few.candidates)
        return await ask(candidates, self._options)
