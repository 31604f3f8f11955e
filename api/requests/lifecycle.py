"""One request from its admission to its last byte: the one retry loop of the system.

Its attempts follow each other until one is committed; a client that leaves stops whatever runs.
Exactly one of the api, the worker and the recorder closes it in the usage log.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

import msgspec

from api.accounting.failure_record import ended
from api.admission.admit import admit
from api.relay.incoming import Inbound
from api.routing.router import CLOSED
from shared.errors import Draining, GatewayError, Overloaded, WorkerLost
from shared.ids import job_id
from shared.queue.arq_queue import withdraw
from shared.queue.placement import MOST_ATTEMPTS, Candidate, Placing, enqueue
from shared.redis.client import UNREACHABLE
from shared.relay import CancelReason, attempt_key, cancelled_for
from shared.types import JobDraft, Target, UsageRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.admission.admit import Admitted
    from api.admission.auth import Principal
    from api.gateway import Gateway

_log = logging.getLogger(__name__)

FIRST_LOOK_S = 0.5
LONGEST_LOOK_S = 15.0
"""When a job that found no other place looks again: after a second, later after twice as long each time."""
EXTRA_ATTEMPTS = 2
"""How often a request may be tried again at the same target because its worker went away."""
EXTRA_ACCOUNTS = 4
"""How often because an account failed and the target has others."""


class Exchange:
    """A request under way.

    Args:
        gateway: the parts of this process.
        draft: the first attempt, as it will be enqueued.
        record: the usage record as known at admission.
        candidates: where it may go.
        placing: budgets and priority.
        abort: cuts the client's connection.
    """

    def __init__(
        self,
        gateway: Gateway,
        draft: JobDraft,
        record: UsageRecord,
        *,
        candidates: list[Candidate],
        placing: Placing,
        abort: Callable[[], None],
    ) -> None:
        self._gateway = gateway
        self._draft = draft
        self._record = record
        self._candidates = candidates
        self._placing = placing
        self._chosen: list[Candidate] = []
        self._maybe_at: tuple[str, ...] = ()
        self._look_again_s = FIRST_LOOK_S
        self._overdue_timer: asyncio.TimerHandle | None = None
        self._abort = abort
        self._request_id = bytes.fromhex(draft.request_id)
        self._inbound: Inbound | None = None
        self._again = 0
        self._began_at = time.monotonic()
        self._over = False
        self._head_is_due = False
        self._task: asyncio.Task[object] | None = None

    async def begin(self, principal: Principal) -> Admitted:
        """Admit the request and enqueue its first attempt.

        When the task that calls this ends, however that may be, so does the request.

        Raises:
            GatewayError: it was refused; nothing was consumed.
        """
        self._task = asyncio.current_task()
        if self._task is not None:
            self._task.add_done_callback(self.abandon)
        live = self._gateway.router.live(self._candidates)
        if not live:
            raise Overloaded("What could serve this request has just gone.", code="no_worker", retry_after_s=1)
        # Known before it is enqueued, so that no frame can come too early.
        inbound = self._expect(live[0].target)
        try:
            admitted = await admit(
                self._gateway.redis, principal, self._draft, self._record, candidates=live, placing=self._placing
            )
        except GatewayError:
            self._over = True
            self._gateway.relay.forget(inbound)
            raise
        self._placed(live[admitted.candidate])
        return admitted

    @property
    def served_by(self) -> tuple[Target, int] | None:
        """Who answers, and at the how manieth attempt; None while that may still change."""
        inbound = self._inbound
        if inbound is None or not (inbound.committed or inbound.over):
            return None
        return inbound.target, self._draft.attempt

    async def read(self) -> bytes | None:
        """The next bytes for the client: b"" when there is nothing to say yet, None at the end.

        Raises:
            GatewayError: the request failed for good.
        """
        while True:
            inbound = self._current()
            words = inbound.take()
            if words:
                return words
            if inbound.ended:
                self._finished()
                return None
            if inbound.error is not None:
                await self._fail_over(inbound.error)
            elif inbound.overdue:
                await self._overflow(inbound)
            elif await inbound.wait():
                return b""

    async def read_whole(self) -> bytes:
        """The whole body of a reply that is not streamed.

        Raises:
            GatewayError: the request failed for good.
        """
        parts = []
        while (words := await self.read()) is not None:
            parts.append(words)
        return b"".join(parts)

    async def read_first(self, head_wait_s: float) -> bytes | None:
        """As `read`, but b"" comes only after `head_wait_s` seconds without content."""
        timer = asyncio.get_running_loop().call_later(head_wait_s, self._head_due)
        try:
            while True:
                words = await self.read()
                if words != b"" or self._head_is_due:
                    return words
        finally:
            timer.cancel()

    def abandon(self, _: object = None) -> None:
        """The client is gone, or was served: stop what still runs. Safe to call at any time, any number of times."""
        if self._over or self._inbound is None:
            return
        self._end()
        self._gateway.spawn(self._stop(self._current()), name=f"abandon {self._draft.request_id}")

    def _current(self) -> Inbound:
        if self._inbound is None:
            raise RuntimeError("the exchange has not begun")
        return self._inbound

    def _expect(self, target: Target) -> Inbound:
        key = attempt_key(self._request_id, self._draft.attempt)
        name = job_id(self._request_id, self._draft.attempt)
        self._inbound = Inbound(key, name, target, whole=not self._draft.stream, overrun=self._overrun)
        self._gateway.relay.expect(self._inbound)
        return self._inbound

    def _placed(self, candidate: Candidate) -> None:
        """The attempt stands in this candidate's queue, or did; what is left may be tried after it."""
        inbound = self._current()
        if inbound.started_at is None:
            inbound.target = candidate.target
        self._maybe_at = ()
        self._choose(candidate.target)
        if self._overdue_timer is not None:
            self._overdue_timer.cancel()
        if candidate.target.tier == "local" and any(map(_is_elsewhere, self._candidates)):
            self._look_again_in(self._gateway.settings.local_max_wait_s)

    def _choose(self, target: Target) -> None:
        everything = self._candidates
        self._chosen = [candidate for candidate in everything if candidate.target == target]
        self._candidates = [candidate for candidate in everything if candidate.target != target]

    def _look_again_in(self, wait_s: float) -> None:
        self._overdue_timer = asyncio.get_running_loop().call_later(wait_s, self._current().be_overdue)

    async def _overflow(self, inbound: Inbound) -> None:
        """Move a job that waits for too long to the next tier: in one step, so that it never runs twice."""
        inbound.overdue = False
        live = [
            _at_once(candidate)
            for candidate in self._gateway.router.live(filter(_is_elsewhere, self._candidates))
            if candidate.rank < CLOSED
        ]
        chosen: int | None = -1
        if live and not inbound.over:
            waits_at = (inbound.target.queue, inbound.job_id)
            chosen = await self._enqueue(live, instead_of=waits_at, only_look=True)
            if chosen is not None and chosen >= 0:
                chosen = await self._enqueue(live, instead_of=waits_at)
        if chosen is None:
            return
        if chosen < 0:
            self._look_again_s = min(2 * self._look_again_s, LONGEST_LOOK_S)
            self._look_again_in(self._look_again_s)
            return
        inbound.enqueued_at = time.monotonic()
        # Home again, however long the wait, where what it moves to cannot serve.
        back = [candidate for candidate in self._chosen if not candidate.most_wait_ms]
        self._placed(live[chosen])
        self._candidates += back

    async def _enqueue(
        self, live: list[Candidate], *, instead_of: tuple[str, str] | None = None, only_look: bool = False
    ) -> int | None:
        """As `placement.enqueue`; -1 while Redis is away. Should we be cancelled meanwhile, it may stand in any."""
        self._maybe_at = tuple(candidate.target.queue for candidate in live)
        try:
            return await enqueue(
                self._gateway.redis,
                self._draft,
                live,
                placing=self._placing,
                instead_of=instead_of,
                only_look=only_look,
            )
        except UNREACHABLE:
            return -1

    def _end(self) -> None:
        self._over = True
        if self._overdue_timer is not None:
            self._overdue_timer.cancel()

    def _finished(self) -> None:
        self._end()
        self._gateway.relay.forget(self._current())

    def _overrun(self) -> None:
        """The client reads too slowly for what has arrived: it is cut, and the model stopped."""
        if self._over:
            return
        self._end()
        inbound = self._current()
        _log.warning("request %s: the client reads too slowly and is cut", self._draft.request_id)
        self._gateway.relay.cancel(inbound, CancelReason.CLIENT_TOO_SLOW, self._lost_after_cancel)
        if self._task is not None:
            self._task.cancel()
        self._abort()

    def _head_due(self) -> None:
        self._head_is_due = True
        self._current().nudge()

    async def _fail_over(self, error: GatewayError) -> None:
        """Start the next attempt, or end the request with `error`."""
        inbound = self._current()
        await self._leave(inbound)
        if inbound.target != self._chosen[0].target:
            # Another host took it over while it waited.
            self._candidates += self._chosen
            self._choose(inbound.target)
        if self._may_try_again(error):
            self._again += 1
            self._candidates += self._chosen
        if isinstance(error, WorkerLost):
            self._gateway.ledger.drop(inbound.job_id)
        live = self._gateway.router.live(self._candidates)
        is_final = inbound.committed or self._gateway.is_cut or not error.fails_over
        if is_final or not live or self._draft.attempt >= MOST_ATTEMPTS:
            raise self._give_up(error)
        self._draft = msgspec.structs.replace(self._draft, attempt=self._draft.attempt + 1)
        following = self._expect(live[0].target)
        chosen = await self._enqueue(live)
        if chosen is None or chosen < 0:
            self._gateway.relay.forget(following)
            raise self._give_up(error)
        self._placed(live[chosen])

    def _may_try_again(self, error: GatewayError) -> bool:
        """Whether the same target may serve after all: by another worker, or with another of its accounts."""
        if isinstance(error, WorkerLost | Draining):
            return self._again < EXTRA_ATTEMPTS
        return error.retry_here and self._again < EXTRA_ACCOUNTS

    def _give_up(self, error: GatewayError) -> GatewayError:
        self._end()
        inbound = self._current()
        self._close(error, inbound.tokens)
        return error

    def _close(self, error: GatewayError, tokens: int) -> None:
        """Close the request in the usage log, unless its worker did."""
        inbound = self._current()
        record = ended(
            self._record,
            self._draft,
            inbound,
            error,
            tokens,
            began_at=self._began_at,
            catalogue=self._gateway.settings.catalogue,
        )
        self._gateway.ledger.close(record, inbound.job_id)

    async def _withdraw(self, inbound: Inbound) -> bool:
        try:
            for queue in {inbound.target.queue, *self._maybe_at}:
                if await withdraw(self._gateway.redis, queue, inbound.job_id):
                    return True
        except UNREACHABLE:
            pass
        return False

    async def _leave(self, inbound: Inbound) -> None:
        """Wait for a failed attempt no longer. One that was cut still runs: it is listened to until it has stopped."""
        relay = self._gateway.relay
        withdrawn = inbound.worker is None and await self._withdraw(inbound)
        if inbound.is_cut and not withdrawn:
            relay.cancel(inbound, CancelReason.DRAINING, self._lost_after_cancel)
        else:
            relay.forget(inbound)

    async def _stop(self, inbound: Inbound) -> None:
        """Take the attempt out of its queue, or tell its worker to stop and let it close the request."""
        relay = self._gateway.relay
        if inbound.over:
            await self._leave(inbound)
            if inbound.error is not None:
                self._close(inbound.error, inbound.tokens)
            return
        if inbound.worker is None and await self._withdraw(inbound):
            relay.forget(inbound)
            self._close(cancelled_for(CancelReason.CLIENT_LEFT), 0)
            return
        relay.cancel(inbound, CancelReason.CLIENT_LEFT, self._lost_after_cancel)

    def _lost_after_cancel(self, inbound: Inbound) -> None:
        """The worker never said that it stopped: the request is closed from here."""
        self._close(cancelled_for(inbound.cancel_reason), inbound.tokens)


def _is_elsewhere(candidate: Candidate) -> bool:
    """Whether a job that waits for long may move there: to another tier, or where the wait is bounded."""
    return candidate.target.tier != "local" or candidate.most_wait_ms > 0


def _at_once(candidate: Candidate) -> Candidate:
    """The candidate for a job that has waited for as long as is acceptable: at home only where a slot is free."""
    return msgspec.structs.replace(candidate, most_wait_ms=1) if candidate.most_wait_ms else candidate
