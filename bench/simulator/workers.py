"""Workers of a simulated day: they claim, take quotas, announce and settle by the gateway's own code and scripts."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final, NamedTuple, cast

import msgspec

from api.routing.live_backends import REFRESH_S, Capacity
from bench.simulator.site import LOCAL_MODEL
from shared.ids import job_id
from shared.queue.arq_queue import decode_job
from shared.redis import scripts
from shared.redis.names import WORKERS, worker_key
from shared.types import TIERS, Announcement, BackendInfo, Job, LocalModel
from shared.usage import Closing, ClosingMode, finish_now
from workers.accounts.outcome import NoAccount
from workers.accounts.slots import AdaptiveSlots
from workers.accounts.state import AccountCandidate, AccountStateStore, Reservation
from workers.backends.backend import Backend
from workers.backends.unsupported import UnsupportedParameters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis.asyncio import Redis

    from bench.simulator.clock import Clock
    from bench.simulator.load import Request
    from bench.simulator.site import Site, Upstream
    from shared.usage import UsageRecord
    from workers.accounts.pool import Accounts
    from workers.accounts.state import How
    from workers.backends.backend import ModelSource

_WORKER: Final = "ab" * 16
_LIFE_MS: Final = 7 * 86_400_000
"""Of what workers say again and again in real life."""


class Lease(NamedTuple):
    """A lease on a free project's quotas."""

    reservation: Reservation
    account: AccountCandidate


class Worker:
    """The worker of one upstream.

    Args:
        redis: with the simulated time.
        site: whose quotas count.
        upstream: what it serves.
        clock: the time.
    """

    def __init__(self, redis: Redis, site: Site, upstream: Upstream, clock: Clock) -> None:
        self.upstream = upstream
        self.has_news = False
        self._redis = redis
        self._site = site
        self._clock = clock
        self._running = 0
        self._closed: dict[str, int] = {}
        # As CLAW_FIRST_TOKEN_TIMEOUT_S is by default.
        self._store = AccountStateStore(redis, upstream.queue, probe_s=120, is_counted=True)
        self.slots = AdaptiveSlots()
        source = cast("ModelSource", _Named(upstream.provider))
        accounts = cast("Accounts", self)  # as far as an announcement goes
        unsupported = UnsupportedParameters(redis, upstream.queue)
        self._backend = Backend(
            upstream.tier, source, upstream.name, upstream.slots, accounts=accounts, unsupported=unsupported
        )
        self._backend.models = _models(site, upstream)

    def closed_ms(self) -> dict[str, int]:
        """Return until when no account can serve a model."""
        return {model: until for model, until in self._closed.items() if until > self._clock.now_ms}

    def info(self) -> BackendInfo:
        """Return the backend's announcement."""
        self.has_news = False
        return self._backend.info()

    async def claim(self) -> list[Job]:
        """Claim the next jobs, as many as there are free slots."""
        free = self.upstream.slots - self._running
        if free <= 0:
            return []
        claimed = await scripts.run(
            self._redis, scripts.CLAIM, [self.upstream.queue], free, _WORKER, _LIFE_MS, _LIFE_MS, "help"
        )
        jobs = [decode_job(raw) for raw in claimed[1::3]]
        self._running += len(jobs)
        return jobs

    async def lease(self, job: Job, prompt_tokens: int) -> Lease | NoAccount | None:
        """Lease the quota that an attempt needs of a free project, as `Accounts` does; return None at other tiers."""
        if job.tier != "gemini":
            return None
        quota = self._site.catalogue.quota(job.model)
        numbers = range(self._site.projects)
        accounts = [AccountCandidate(f"account-{number}", f"project-{number}", "", quota) for number in numbers]
        # As `Accounts` does, so that equals are used alike.
        random.shuffle(accounts)
        how: How = "last" if job.is_last else "take"
        taken = await self._store.reserve(how, job.model, prompt_tokens, accounts)
        if taken.closed_ms:
            self._closed[job.model] = taken.closed_ms
            self.has_news = True
        return taken if isinstance(taken, NoAccount) else Lease(taken, accounts[taken.account])

    async def settle(self, lease: Lease, model: str, request: Request) -> None:
        """Settle an attempt that went well."""
        all_tokens = request.prompt_tokens + request.output_tokens
        await self._store.settle(
            "good",
            lease.reservation,
            model,
            lease.account,
            prompt_tokens=request.prompt_tokens,
            all_tokens=all_tokens,
        )

    async def finish(
        self, job: Job, record: UsageRecord | None, *, served_ms: int | None = None, tokens: int = 0
    ) -> bool:
        """End an attempt, as `Attempt` does; return whether its request was closed: not without a record."""
        self._running -= 1
        self._backend.took(served_ms, tokens)
        name = job_id(job.request_id, job.attempt)
        queue = self.upstream.queue
        closing = Closing(api_id=job.api_id, request_id=job.request_id, job_id=name, queue=queue)
        if record is not None:
            record = msgspec.structs.replace(record, tier=job.tier)
            closing = Closing.of(record, ClosingMode.HELD, api_id=job.api_id, job_id=name, queue=queue)
        return await finish_now(self._redis, closing)


class _Named:
    """A source of models as far as an announcement goes."""

    def __init__(self, name: str) -> None:
        self.name = name


class Workforce:
    """All workers, and what an api process knows of them.

    Args:
        redis: with the simulated time.
        site: what there is.
        clock: the time.
    """

    def __init__(self, redis: Redis, site: Site, clock: Clock) -> None:
        self.capacity = Capacity(redis)
        self._redis = redis
        self._clock = clock
        self._looked_ms = -_LIFE_MS
        self._workers = {upstream.queue: Worker(redis, site, upstream, clock) for upstream in site.upstreams}

    def __getitem__(self, queue: str) -> Worker:
        return self._workers[queue]

    def __iter__(self) -> Iterator[Worker]:
        return iter(self._workers.values())

    async def look(self, *, news: bool = False) -> None:
        """Refresh what is announced, as late as an api process does: news at once, the rest with the next poll."""
        if news or self._clock.now_ms - self._looked_ms >= REFRESH_S * 1000:
            self._looked_ms = self._clock.now_ms
            await self._announce()
            await self.capacity.refresh()

    async def _announce(self) -> None:
        """Announce what is served, as heartbeats do: one worker for each tier, whose backends keep their order."""
        for number, tier in enumerate(TIERS):
            backends = tuple(worker.info() for worker in self if worker.upstream.tier == tier)
            identity = f"{number:032x}"
            await self._redis.set(worker_key(identity), msgspec.json.encode(Announcement(identity, tier, backends)))
            await self._redis.sadd(WORKERS, identity)  # type: ignore[misc]  # redis-py: or awaitable


def _models(site: Site, upstream: Upstream) -> tuple[LocalModel, ...]:
    if upstream.tier == "local":
        return (LocalModel(LOCAL_MODEL, endpoints=("chat",), is_loaded=True),)
    names = site.catalogue.auto.gemini if upstream.tier == "gemini" else (site.paid_model,)
    return tuple(LocalModel(name) for name in names)
