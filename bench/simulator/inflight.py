"""A request under way in simulated time: the gateway's own policy says where it goes, moves on and is tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from api.admission.admit import admit
from api.requests.failover import Failover, acceptable_now
from shared.ids import job_id
from shared.queue.placement import Candidate, Mode, PlacementOptions, enqueue
from shared.usage import UsageRecord

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis.asyncio import Redis

    from api.admission.auth import Principal
    from api.routing.router import Router
    from bench.simulator.load import Request
    from shared.errors import GatewayError
    from shared.types import JobDraft, Target


class Agenda(Protocol):
    """A schedule of simulated time."""

    @property
    def now_ms(self) -> int:
        """Return the milliseconds since the day began."""

    def at(self, moment_ms: int, happens: Callable[[], Awaitable[None]]) -> None:
        """Schedule something for a moment of the day."""

    async def placed(self, target: Target, *, moved: bool = False) -> None:
        """Record that a job was put into a queue."""

    async def look(self) -> None:
        """Refresh what an api process knows of the workers by now."""


class SimulatedRequest:
    """As `api/requests/lifecycle.py` without a relay, with timers of the simulated time.

    Args:
        agenda: where its timers stand.
        redis: with the simulated time.
        router: says which candidates are live.
        draft: its first attempt.
        candidates: where it may go, as the router ranked them.
        options: budgets and priority.
        request: what is served.
        local_max_wait_s: how long it waits at the local tier before another place is looked for.
    """

    def __init__(
        self,
        agenda: Agenda,
        redis: Redis,
        router: Router,
        draft: JobDraft,
        *,
        candidates: list[Candidate],
        options: PlacementOptions,
        request: Request,
        local_max_wait_s: float,
    ) -> None:
        self.request = request
        self.draft = draft
        self.target = candidates[0].target
        self._agenda = agenda
        self._redis = redis
        self._router = router
        self._candidates = candidates
        self._options = options
        self._failover = Failover(candidates, local_max_wait_s=local_max_wait_s)
        self._has_started = False
        self._version = 0

    async def begin(self, principal: Principal) -> None:
        """Admit the request.

        Raises:
            GatewayError: it was refused.
        """
        admitted = await admit(self._redis, principal, self.draft, candidates=self._candidates, options=self._options)
        self._placed(self._candidates[admitted.candidate].target)

    def started(self, target: Target) -> None:
        """Record that a worker has claimed it."""
        self._has_started = True
        self.target = target

    async def fail_over(self, error: GatewayError) -> None:
        """Start the next attempt.

        Raises:
            GatewayError: there is none.
        """
        left = self._failover.failed(error, self.target, self.draft.attempt)
        live = self._router.live(left)
        if not live:
            raise error
        self.draft = msgspec.structs.replace(self.draft, attempt=self.draft.attempt + 1)
        chosen = await enqueue(self._redis, self.draft, live, options=self._options)
        if chosen is None or chosen < 0:
            raise error
        self._placed(live[chosen].target)

    def finished(self) -> None:
        """Record that it was answered."""
        self._version += 1

    def record(self, cost_usd: float) -> UsageRecord:
        """Return what its worker says of it."""
        return msgspec.structs.replace(UsageRecord.opened(self.draft), attempts=self.draft.attempt, cost_usd=cost_usd)

    def _placed(self, target: Target) -> None:
        self.target = target
        self._has_started = False
        self._recheck_in(self._failover.placed(target))

    def _recheck_in(self, wait_s: float | None) -> None:
        self._version += 1
        if wait_s is not None:
            self._agenda.at(self._agenda.now_ms + round(wait_s * 1000), self._recheck(self._version))

    def _recheck(self, version: int) -> Callable[[], Awaitable[None]]:
        async def recheck() -> None:
            # Timers stay on the agenda: one of an older version is over.
            if self._version == version and not self._has_started:
                await self._agenda.look()
                await self._overflow()

        return recheck

    async def _overflow(self) -> None:
        live = acceptable_now(self._router.live(self._failover.overflow()))
        waits_at = (self.target.queue, job_id(self.draft.request_id, self.draft.attempt))
        chosen = (
            await enqueue(self._redis, self.draft, live, options=self._options, waits_at=waits_at, mode=Mode.MOVE)
            if live
            else -1
        )
        if chosen is None:
            return
        if chosen < 0:
            self._recheck_in(self._failover.stayed())
            return
        self.target = live[chosen].target
        self._recheck_in(self._failover.moved(self.target))
        await self._agenda.placed(self.target, moved=True)
