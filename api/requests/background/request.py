"""A request for a response of the background: admitted like all others, and then left to whoever has time for it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import msgspec

from api.admission.admit import ADMIT_TIMEOUT_S, QueueUnavailable
from api.requests.background.records import BackgroundRecords, BackgroundRequest
from api.requests.queued_job import QueuedJob
from shared.dialects.stored.unanswered import begun_events, shown_of, unanswered
from shared.errors import GatewayError
from shared.process.tasks import work_beside
from shared.redis.client import UNREACHABLE
from shared.redis.names import BACKGROUND_API

if TYPE_CHECKING:
    from api.admission.admit import Admitted
    from api.admission.auth import Principal
    from api.requests.lifecycle import InflightRequest
    from api.requests.services import RequestServices
    from api.routing.eligibility import RoutingRequest
    from shared.queue.placement import Candidate, PlacementOptions
    from shared.types import JobDraft

MARGIN_MS = 60_000


class Unattended:
    """A request under way that nobody waits for.

    Args:
        services: what it uses.
        draft: the first attempt, as it would be of a request that somebody waits for.
        wanted: what routing has to know of it.
        candidates: where it may go, as the router ranked them; not empty.
        options: budgets and priority.
    """

    served_by = None
    """Nobody yet, whenever it is asked: its client is told by the response itself."""

    def __init__(
        self,
        services: RequestServices,
        draft: JobDraft,
        wanted: RoutingRequest,
        *,
        candidates: list[Candidate],
        options: PlacementOptions,
    ) -> None:
        self.has_comments = True
        self._shown = b""
        settings = services.settings
        now_ms = int(time.time() * 1000)
        wait_ms = int(settings.background_wait_s * 1000)
        patient_until_ms = draft.patient_until_ms or now_ms + wait_ms
        self._life_ms = wait_ms + int(settings.total_timeout_s * 1000) + MARGIN_MS
        self._services = services
        self._records = BackgroundRecords(services.redis, settings.max_background)
        self._candidates = candidates
        self._request = BackgroundRequest(
            draft=msgspec.structs.replace(
                draft,
                api_id=BACKGROUND_API,
                # Whoever asks gets the answer whole, or its events: both come of a stream.
                stream=True,
                expires_ms=now_ms + self._life_ms,
                patient_until_ms=patient_until_ms,
            ),
            wanted=wanted,
            options=options,
        )

    @property
    def request_id(self) -> str:
        """Return its id, in hex digits."""
        return self._request.draft.request_id

    def queued(self) -> bytes:
        """Return the response object of now, as JSON."""
        draft = self._request.draft
        return unanswered(draft, draft.requested_model, "queued", shown=self._shown)

    async def begin(self, principal: Principal) -> Admitted:
        """Admit the request and enqueue its first attempt.

        Raises:
            GatewayError: it was refused; nothing was consumed.
        """
        draft, services = self._request.draft, self._services
        self.has_comments = principal.stream_comments
        job = QueuedJob(services.redis, services.router, self._request.options, services.moves)
        self._shown = await work_beside(len(draft.body), lambda: shown_of(draft))
        try:
            async with asyncio.timeout(ADMIT_TIMEOUT_S):
                begun = begun_events(draft, self._shown)
                # Before its admission: a worker may have it before this process goes on, and appends to it.
                await self._records.open(self._request, self._candidates[0].target, begun)
            try:
                admitted, target = await job.admit(principal, draft, self._candidates)
            except GatewayError:
                await self._records.forget(draft.request_id, draft.key_id)
                raise
            await self._records.keep(draft, target, self._shown, self._life_ms)
        except UNREACHABLE:
            raise QueueUnavailable from None
        return admitted


def attended(request: InflightRequest | Unattended) -> InflightRequest:
    """Return a request that somebody waits for, as all are of what has no background."""
    if isinstance(request, Unattended):
        raise TypeError("nobody waits for this request")
    return request
