"""The next attempt of a background response whose attempt failed, or whose queue nobody serves."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from api.requests.failover import Failover
from api.requests.open_requests import failure_of, place_of
from api.requests.queued_job import QueuedJob
from shared.errors import GatewayError
from shared.queue.placement import Mode, enqueue
from shared.redis.names import job_key

if TYPE_CHECKING:
    from collections.abc import Collection

    from api.requests.background.records import BackgroundRecords, BackgroundRequest, Progress
    from api.requests.services import RequestServices
    from shared.queue.placement import Candidate
    from shared.types import JobDraft


class NextAttempt:
    """Puts attempts into queues. What was tried before is known to the process that tried it.

    Args:
        services: what requests use of their process.
        records: the responses.
    """

    def __init__(self, services: RequestServices, records: BackgroundRecords) -> None:
        self._services = services
        self._records = records
        self._failovers: dict[str, Failover] = {}
        self._following: dict[tuple[str, int], list[Candidate]] = {}

    def keep(self, names: Collection[str]) -> None:
        """Forget what is open no more."""
        self._failovers = {name: each for name, each in self._failovers.items() if name in names}
        self._following = {key: each for key, each in self._following.items() if key[0] in names}

    async def start(self, request: BackgroundRequest, progress: Progress, error: GatewayError) -> bool:
        """Start the attempt after one that failed; return False where there is none.

        Where what could serve it is not there now, or full, nothing is done until the response has waited too long.
        """
        name = request.draft.request_id
        is_patient = time.time() * 1000 < progress.patient_until_ms
        candidates = self._candidates(request)
        if not candidates:
            return is_patient
        following = self._after(name, candidates, progress, error)
        if not following:
            return False
        if live := self._services.router.live(following):
            noted = request.draft.noted("failed", f"attempt {progress.attempt} at {failure_of(progress.target, error)}")
            draft = msgspec.structs.replace(noted.after(error.cost_usd), attempt=progress.attempt + 1)
            if await self._put(request, draft, live, progress):
                return True
        return is_patient

    async def move(self, request: BackgroundRequest, progress: Progress) -> bool:
        """Move an attempt that waits where nobody serves to where somebody does; return whether it was moved."""
        live = self._candidates(request)
        if not live:
            return False
        draft = request.draft.noted("moved", f"from {place_of(progress.target)}")
        job = progress.job_of(draft.request_id)
        draft = msgspec.structs.replace(draft, attempt=progress.attempt)
        at, options = (progress.target.queue, job), request.options
        redis = self._services.redis
        chosen = await enqueue(redis, draft, live, options=options, waits_at=at, mode=Mode.MOVE)
        if chosen is None or chosen < 0:
            return False
        await self._records.placed(draft.request_id, live[chosen].target)
        return True

    def _candidates(self, request: BackgroundRequest) -> list[Candidate]:
        try:
            return self._services.router.route(request.wanted)
        except GatewayError:
            return []

    def _after(
        self, name: str, candidates: list[Candidate], progress: Progress, error: GatewayError
    ) -> list[Candidate]:
        """Return what may follow an attempt that failed: decided once."""
        key = (name, progress.attempt)
        # Asked again at each look until there is room: the failure counts once.
        if key not in self._following:
            failover = self._failovers.get(name)
            if failover is None:
                wait_s = self._services.settings.local_max_wait_s
                failover = self._failovers[name] = Failover(candidates, local_max_wait_s=wait_s)
                # It was put there by its admission, or by another process.
                failover.placed(progress.target)
            served_by = progress.served or progress.target
            self._following[key] = failover.failed(error, served_by, progress.attempt)
        return self._following[key]

    async def _put(
        self, request: BackgroundRequest, draft: JobDraft, live: list[Candidate], progress: Progress
    ) -> bool:
        """Put an attempt into a queue; its worker may have it before this returns."""
        job = QueuedJob(self._services.redis, self._services.router, request.options, self._services.moves)
        # A worker that only seemed to be dead can append nothing any more (background_append.lua).
        await self._services.redis.delete(job_key(progress.job_of(draft.request_id)))
        await self._records.follow_up(draft, live[0].target)
        target = await job.put(draft, live)
        if not target:
            await self._records.step_back(draft.request_id, progress)
            return False
        failover = self._failovers[draft.request_id]
        failover.placed(target)
        await self._records.placed(draft.request_id, target)
        return True
