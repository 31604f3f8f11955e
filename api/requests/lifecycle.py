"""One request from its admission to its last byte.

Its attempts follow each other until one is committed (`api/requests/failover.py` says where they go); a client that
leaves stops whatever runs. Exactly one of the api, the worker and the recorder closes it in the usage log.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

import msgspec

from api.accounting.failure_record import lost_usd
from api.admission.auth import INTERNAL, Principal
from api.relay.incoming import IncomingStream
from api.requests.cancellation import Cancellation
from api.requests.failover import Failover, acceptable_now
from api.requests.open_requests import QueuePlace, RequestState, failure_of, place_of, state_of, with_take_over
from api.requests.queued_job import QueuedJob, patience_s
from api.requests.stopping import Stopping
from api.requests.timer import Timer
from shared.errors import GatewayError, WorkerLost
from shared.ids import job_id
from shared.queue.placement import Candidate, PlacementOptions
from shared.relay import CancelReason, attempt_key
from shared.types import JobDraft, Target, Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.admission.admit import Admitted
    from api.requests.cancellation import Outcome
    from api.requests.services import RequestServices

_log = logging.getLogger(__name__)


class InflightRequest:
    """A request under way.

    Args:
        services: what it uses.
        draft: the first attempt, as it will be enqueued.
        prompt_tokens: how long its prompt is, about.
        candidates: where it may go, as the router ranked them; not empty.
        options: budgets and priority.
        abort: aborts the client's connection.
        release: called once no further attempt needs the body: after the first content, or at the end.
    """

    def __init__(
        self,
        services: RequestServices,
        draft: JobDraft,
        *,
        prompt_tokens: int,
        candidates: list[Candidate],
        options: PlacementOptions,
        abort: Callable[[], None],
        release: Callable[[], None],
    ) -> None:
        self._services = services
        self._relay = services.relay
        self._draft = draft
        self._candidates = candidates
        self._failover = Failover(candidates, local_max_wait_s=services.settings.local_max_wait_s)
        self._prompt_tokens = prompt_tokens
        self._abort = abort
        self._release = release
        self._stream: IncomingStream | None = None
        self._job = QueuedJob(services.redis, services.router, options, services.moves)
        self._stopping = Stopping(services.relay, self._job, self._close, self._was_stopped)
        self._recheck = Timer(self._exceed_wait_limit)
        self._began_at = time.monotonic()
        self.place: QueuePlace | None = None
        self._over, self.principal = False, INTERNAL
        self._cancellation: Cancellation | None = None
        self._task: asyncio.Task[object] | None = None

    async def begin(self, principal: Principal) -> Admitted:
        """Admit the request and enqueue its first attempt.

        When the task that calls this ends, however that may be, so does the request.

        Raises:
            GatewayError: it was refused; nothing was consumed.
        """
        self.principal = principal
        self._services.open_requests[self._draft.request_id] = self
        self._task = asyncio.current_task()
        if self._task is not None:
            self._task.add_done_callback(self.abandon)
        # Known before it is enqueued, so that no frame can come too early.
        stream = self._expect(self._candidates[0].target)
        try:
            admitted, target = await self._job.admit(principal, self._draft, self._candidates)
        except GatewayError:
            self._end()
            self._relay.forget(stream)
            raise
        self._placed(target, self._failover.placed(target))
        return admitted

    @property
    def served_by(self) -> tuple[Target, int] | None:
        """Return the backend and attempt number that served the request; None until decided."""
        stream = self._stream
        if stream is None or not (stream.committed or stream.over):
            return None
        return stream.target, self._draft.attempt

    async def read(self) -> bytes | None:
        """Return the next bytes for the client: b"" when there is nothing to say yet, None at the end.

        Raises:
            GatewayError: the request failed for good.
        """
        while True:
            stream = self._current()
            # Bytes first: what arrived before the end, or before the failure, is the client's.
            chunk = stream.take()
            if chunk:
                return chunk
            if stream.ended:
                self._end()
                self._relay.forget(stream)
                return None
            if stream.error is not None:
                await self._fail_over(stream.error)
            elif stream.wait_limit_exceeded:
                await self._overflow(stream)
            elif await stream.wait():
                return b""

    def tick(self) -> None:
        """Let `read` return now, with b"" where there is nothing to say."""
        self._current().keep_alive_tick()

    def abandon(self, _: object = None) -> None:
        """Stop what still runs: the client is gone, or was served. Safe to call at any time, any number of times."""
        self._task = None  # one that was cancelled keeps the frames of the whole request
        if self._over or self._stream is None:
            return
        self._end()
        self._services.spawn(self._stopping.abandon(self._current()), f"abandon {self._draft.request_id}")

    # --- what others ask of it ---

    def cancel(self, by: CancelReason, report: Callable[[Outcome], None]) -> None:
        """End it wherever it is, and tell its client so; `report` is called once it is known what became of it."""
        if self._current().ended:  # its client has yet to read the end
            report("completed")
            return
        if self._cancellation is None:
            self._cancellation = Cancellation(by)
            self._draft = self._draft.noted("cancelled", self._cancellation.error.by)
        self._cancellation.report_to(report)
        self.abort(self._cancellation.error, by)

    def abort(self, error: GatewayError, reason: CancelReason) -> asyncio.Task[None] | None:
        """End it with an error, whether or not its client reads that; return what stops its attempt."""
        stream = self._current()
        if not stream.abort(error, reason):
            return None
        return self._services.spawn(self._stopping.end(stream, reason), f"abort {self._draft.request_id}")

    def look_elsewhere(self, queue: str) -> None:
        """Look for another place if it waits in a queue."""
        if self._current().target.queue == queue:
            self._exceed_wait_limit()

    def described(self) -> RequestState:
        """Return where it is now."""
        stream, is_cancelled = self._current(), self._cancellation is not None
        return state_of(self._draft, stream, has_worker=self._relay.has_worker(stream), is_cancelled=is_cancelled)

    def take_place(self, place: QueuePlace | None) -> None:
        """Take note of its place in the queue; None where it does not wait."""
        if place != self.place:
            self.place = place
            self.tick()

    # --- where it is ---

    def _current(self) -> IncomingStream:
        if self._stream is None:
            raise RuntimeError("the request has not begun")
        return self._stream

    def _expect(self, target: Target) -> IncomingStream:
        draft, number = self._draft, (self._draft.request_id, self._draft.attempt)
        self._stream = IncomingStream(
            attempt_key(*number), job_id(*number), target, whole=not draft.stream, on_commit=self._release_body
        )
        self._relay.expect(self._stream, self._overrun)
        return self._stream

    def _placed(self, target: Target, recheck_s: float | None) -> None:
        """Follow the attempt that was put into the queue of `target`, and plan the next recheck."""
        self._relay.moved(self._current(), target, patience_s(self._draft, self._services.settings.queue_timeout_s))
        self._job.is_known()
        self._recheck.plan(recheck_s)

    def _exceed_wait_limit(self) -> None:
        stream = self._current()
        # A job that was started does not wait any more, even where its answer has not begun.
        if not self._relay.has_worker(stream):
            stream.exceed_wait_limit()

    async def _overflow(self, stream: IncomingStream) -> None:
        """Move a job that waits for too long to the next tier: in one step, so that it never runs twice."""
        stream.start_recheck()
        live = acceptable_now(self._services.router.live(self._failover.overflow()))
        noted = self._draft.noted("moved", f"from {place_of(stream.target)}")
        target = await self._job.put(noted, live, instead_of=stream) if live and not stream.over else False
        # A worker claimed it between the timer and this step: it has its turn.
        if target is None:
            return
        if not target:
            self._recheck.plan(self._failover.stayed())
            return
        self._draft = noted if self._cancellation is None else self._draft
        self._placed(target, self._failover.moved(target))

    async def _fail_over(self, error: GatewayError) -> None:
        """Start the next attempt, or end the request with `error`."""
        stream = self._current()
        # Before anything else is enqueued: a superseded attempt must not run beside its successor.
        if await self._stopping.leave(stream):
            raise self._failed(error)
        if self._cancellation is not None:  # meanwhile: nothing more is tried then
            self._cancellation.error.cost_usd, error = error.cost_usd, self._cancellation.error
        live = self._services.router.live(self._failover.failed(error, stream.target, self._draft.attempt))
        if isinstance(error, WorkerLost):
            self._services.lost(self._draft, stream)
        # After content was sent, another answer would begin anew in the middle of the first one.
        if stream.committed or self._relay.is_aborted or not live:
            raise self._give_up(error)
        lost = lost_usd(stream, error, self._services.settings.catalogue)
        failed = f"attempt {self._draft.attempt} at {failure_of(stream.target, error)}"
        noted = with_take_over(self._draft, stream).noted("failed", failed)
        self._draft = msgspec.structs.replace(noted.after(lost), attempt=self._draft.attempt + 1)
        following = self._expect(live[0].target)
        target = await self._job.put(self._draft, live)
        if not target:
            self._relay.forget(following)
            error = error if self._cancellation is None else self._cancellation.error
            error.cost_usd = 0.0  # stands in the draft by now
            raise self._give_up(error)
        self._placed(target, self._failover.placed(target))

    # --- how it ends ---

    def _release_body(self) -> None:
        """Let go of the body, which may be large: an answer takes minutes, and no further attempt follows."""
        self._draft = msgspec.structs.replace(self._draft, body=msgspec.Raw(), history=None)
        self._release()

    def _end(self) -> None:
        self._over = True
        if self._cancellation is None or self._cancellation.is_over:  # until then somebody may ask for it
            self._services.open_requests.pop(self._draft.request_id, None)
        self._release_body()
        self._recheck.plan(None)

    def _overrun(self) -> None:
        """Abort the client's connection and stop the model: the client reads too slowly for what has arrived."""
        if self._over:
            return
        self._end()
        _log.warning("request %s: the client reads too slowly: its connection is aborted", self._draft.request_id)
        self._stopping.cancel(self._current(), CancelReason.CLIENT_TOO_SLOW)
        # Both: the handler ends, and so does its connection, which would stay open until all that is buffered was read.
        if self._task is not None:
            self._task.cancel()
        self._abort()

    def _give_up(self, error: GatewayError) -> GatewayError:
        self._close(self._current(), error)
        self._was_stopped("cancelled")
        return self._failed(error)

    def _was_stopped(self, outcome: Outcome) -> None:
        if self._cancellation is not None:
            self._cancellation.ended(outcome)
        self._end()

    def _failed(self, error: GatewayError) -> GatewayError:
        self._end()
        if self.principal.admin_allowed and self._current().target.tier == "local":  # both are the operator's own
            error.show_reason()
        return error

    def _close(self, stream: IncomingStream, error: GatewayError, tokens: int | None = None) -> None:
        """Close the request in the usage log, unless its worker did."""
        delivered = Usage(self._prompt_tokens, stream.tokens if tokens is None else tokens)
        self._services.close(self._draft, stream, error, delivered, self._began_at)
