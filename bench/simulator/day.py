"""A day as `auto` serves it: the gateway's own routing, failover, scripts and account quotas, in simulated time.

What is simulated is time, the arrivals and how long an upstream takes; there is no latency in between.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final, cast

import msgspec

from api.admission.auth import Principal
from api.routing.eligibility import RoutingRequest
from api.routing.router import Router
from bench.simulator.inflight import SimulatedRequest
from bench.simulator.served import Served
from bench.simulator.site import LOCAL_MODEL
from bench.simulator.workers import Workforce
from shared.errors import GatewayError
from shared.models.catalogue import nano_usd
from shared.queue.placement import BudgetLimits, PlacementOptions
from shared.settings import load_settings
from shared.types import JobDraft, Target
from workers.accounts.outcome import NoAccount

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from redis.asyncio import Redis

    from api.routing.rules import RoutingTable
    from bench.simulator.clock import Clock
    from bench.simulator.load import Request
    from bench.simulator.site import Site
    from bench.simulator.workers import Lease, Worker
    from shared.types import Job

_API: Final = "cd" * 16
_LIFE_MS: Final = 7 * 86_400_000


@dataclass
class Day:
    """The outcome of a day: who was served how, who was refused and with which code, how often jobs moved or failed."""

    served: list[Served] = field(default_factory=list)
    refused: list[tuple[Request, str]] = field(default_factory=list)
    moved: int = 0
    failed_over: int = 0


class Simulator:
    """Runs a day.

    Args:
        redis: an empty one, with the simulated time.
        site: what serves.
        clock: the time.
        budget_usd: what may be spent in the month.
    """

    def __init__(self, redis: Redis, site: Site, clock: Clock, *, budget_usd: float) -> None:
        self._redis = redis
        self._site = site
        self._clock = clock
        self._workforce = Workforce(redis, site, clock)
        settings = load_settings(
            {
                # Else the secrets of a `.claw` here would be read.
                "CLAW_DATA_DIR": "/nowhere",
                "CLAW_LOCAL_MAX_WAIT_S": str(site.wait_s),
                "CLAW_AUTO_LOCAL_MODEL": LOCAL_MODEL,
            }
        )
        settings = msgspec.structs.replace(settings, catalogue=site.catalogue)
        self._router = Router(self._workforce.capacity, settings, cast("RoutingTable", _EveryTier()))
        self._limits = BudgetLimits(all_nano_usd=nano_usd(budget_usd))
        self._options = PlacementOptions(limits=self._limits, most_waiting=settings.max_waiting_jobs)
        self._open: dict[str, SimulatedRequest] = {}
        self._agenda: list[tuple[int, int, Callable[[], Awaitable[None]]]] = []
        self._number = itertools.count()
        self.day = Day()

    async def run(self, requests: Sequence[Request]) -> Day:
        """Serve them all.

        Raises:
            RuntimeError: a request was lost, or closed twice.
        """
        for request in requests:
            self.at(request.arrived_ms, self._arrival(request))
        while self._agenda:
            moment_ms, _, happens = heappop(self._agenda)
            self._clock.now_ms = self._clock.began_ms + moment_ms
            await happens()
        if self._open:
            raise RuntimeError(f"{len(self._open)} requests were neither served nor refused")
        return self.day

    @property
    def now_ms(self) -> int:
        """Return the milliseconds since the day began."""
        return self._clock.now_ms - self._clock.began_ms

    def at(self, moment_ms: int, happens: Callable[[], Awaitable[None]]) -> None:
        """Schedule something for a moment of the day."""
        # The number keeps the order of what happens at one moment, and functions out of the comparison.
        heappush(self._agenda, (moment_ms, next(self._number), happens))

    async def placed(self, target: Target, *, moved: bool = False) -> None:
        """Wake the worker of the queue that a job was put into."""
        self.day.moved += moved
        await self._work(self._workforce[target.queue])

    async def look(self) -> None:
        """Refresh what an api process knows of the workers by now."""
        await self._workforce.look()

    def _arrival(self, request: Request) -> Callable[[], Awaitable[None]]:
        async def arrives() -> None:
            await self.look()
            draft = self._draft(request)
            wanted = RoutingRequest(
                model="auto", endpoint="chat", prompt_tokens=request.prompt_tokens, limits=self._limits
            )
            try:
                inflight = SimulatedRequest(
                    self,
                    self._redis,
                    self._router,
                    draft,
                    candidates=self._router.route(wanted),
                    options=self._options,
                    request=request,
                    local_max_wait_s=self._site.wait_s,
                )
                self._open[draft.request_id] = inflight
                # As in the api: from its admission on a request is open until somebody closes it.
                await inflight.begin(Principal(draft.key_id, 0, admin_allowed=False))
            except GatewayError as error:
                self._refuse(draft.request_id, request, error)
            else:
                await self.placed(inflight.target)

        return arrives

    def _draft(self, request: Request) -> JobDraft:
        now_ms = self._clock.now_ms
        return JobDraft(
            # As a real id it sorts by time; the number makes it one of its own.
            request_id=(now_ms << 64 | request.number).to_bytes(16, "big").hex(),
            attempt=1,
            api_id=_API,
            endpoint="chat",
            requested_model="auto",
            stream=False,
            key_id=f"program-{request.program}",
            admitted_ms=now_ms,
            expires_ms=now_ms + _LIFE_MS,
            body=msgspec.Raw(b"{}"),
        )

    def _refuse(self, request_id: str, request: Request, error: GatewayError) -> None:
        self._open.pop(request_id, None)
        self.day.refused.append((request, str(error.code)))

    async def _work(self, worker: Worker) -> None:
        """Claim and begin as many jobs as there are free slots."""
        for job in await worker.claim():
            inflight = self._open[job.request_id]
            inflight.started(Target(job.tier, worker.upstream.queue, job.model))
            lease = await worker.lease(job, inflight.request.prompt_tokens)
            if worker.has_news:
                # A backend that closes says so at once, and routing must know before the next arrival.
                await self._workforce.look(news=True)
            if isinstance(lease, NoAccount):
                await worker.finish(job, None)
                await self._fail_over(inflight, lease.error())
                continue
            began_ms = self.now_ms
            ends_ms = began_ms + worker.upstream.service_ms(inflight.request)
            self.at(ends_ms, self._end(worker, job, lease, began_ms))

    async def _fail_over(self, inflight: SimulatedRequest, error: GatewayError) -> None:
        self.day.failed_over += 1
        await self.look()
        try:
            await inflight.fail_over(error)
        except GatewayError as refusal:
            self._refuse(inflight.draft.request_id, inflight.request, refusal)
        else:
            await self.placed(inflight.target)

    def _end(self, worker: Worker, job: Job, lease: Lease | None, began_ms: int) -> Callable[[], Awaitable[None]]:
        async def ends() -> None:
            inflight = self._open.pop(job.request_id)
            request = inflight.request
            inflight.finished()
            cost = self._site.cost_nano_usd(request) if job.tier == "paid" else 0
            record = inflight.record(cost / 1e9)
            served_ms = self.now_ms - began_ms
            if not await worker.finish(job, record, served_ms=served_ms, tokens=request.output_tokens):
                raise RuntimeError(f"request {request.number} was closed before")
            if lease is not None:
                await worker.settle(lease, job.model, request)
            scope = lease.account.scope if lease is not None else ""
            queue = worker.upstream.queue
            self.day.served.append(Served(request, job.tier, queue, job.model, scope, began_ms, self.now_ms, cost))
            await self._work(worker)

        return ends


class _EveryTier:
    """The routing table as it is without a change of the operator's."""

    def tiers(self, _: str) -> tuple[str, ...]:
        return ("local", "gemini", "paid")
