"""The stop of an attempt: it is taken out of its queue, or left to its worker, which closes the request then."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from api.requests.cancellation import outcome_of
from shared.relay import CancelReason, cancelled_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.relay.incoming import IncomingStream
    from api.relay.receiver import RelayReceiver
    from api.requests.cancellation import Outcome
    from api.requests.queued_job import QueuedJob
    from shared.errors import GatewayError


RETRY_S: Final = 0.5
WITHDRAW_TRIES: Final = 120
"""For a minute."""


class Close(Protocol):
    """Closes a request in the usage log, unless its worker did."""

    def __call__(self, stream: IncomingStream, error: GatewayError, tokens: int | None = None) -> None:
        """Close it with an error; `tokens` were delivered, those of the stream if that is not said."""


class Stopping:
    """Stops the attempts of one request.

    Args:
        relay: tells their workers.
        job: theirs in the queues.
        close: closes the request.
        stopped: told what became of an attempt that was stopped while it waited or ran.
    """

    def __init__(
        self, relay: RelayReceiver, job: QueuedJob, close: Close, stopped: Callable[[Outcome], object]
    ) -> None:
        self._relay = relay
        self._job = job
        self._close = close
        self._stopped = stopped

    async def end(self, stream: IncomingStream, reason: CancelReason, tries: int = WITHDRAW_TRIES) -> None:
        """Take an attempt out of its queue, or tell its worker to stop and let that close the request.

        While Redis is away its job stays there: `tries` are made to take it out, one each `RETRY_S`.
        """
        while not self._relay.has_worker(stream):
            is_withdrawn = await self._job.withdraw(stream)
            if is_withdrawn:
                self._relay.forget(stream)
                self._has_stopped(stream, reason, tokens=0)  # it never ran
                return
            tries -= 1
            # A process that ends waits for no Redis: the job expires.
            if is_withdrawn is False or tries <= 0 or self._relay.is_aborted:
                break
            self.cancel(stream, reason)  # a worker may have it, or get it
            await asyncio.sleep(RETRY_S)
        self.cancel(stream, reason)

    def cancel(self, stream: IncomingStream, reason: CancelReason) -> None:
        """Stop an attempt by its worker, now or as soon as one says that it has it."""
        self._relay.cancel(stream, reason, lambda: self._has_stopped(stream, reason))

    async def leave(self, stream: IncomingStream) -> bool:
        """Stop waiting for a failed attempt; return True where it was aborted, so that its request is closed by that.

        One that was aborted still runs: it is heard until it has stopped.
        """
        if stream.abort_reason is not None:
            await self.end(stream, stream.abort_reason, tries=1)
            return True
        if not self._relay.has_worker(stream):
            await self._job.withdraw(stream)
        self._relay.forget(stream)
        return False

    async def abandon(self, stream: IncomingStream) -> None:
        """Stop an attempt whose client is gone."""
        if not stream.over:
            await self.end(stream, CancelReason.CLIENT_LEFT)
        # One that ended well was closed by its worker, with the last frame.
        elif not await self.leave(stream) and stream.error is not None:
            self._close(stream, stream.error)

    def _has_stopped(self, stream: IncomingStream, reason: CancelReason, tokens: int | None = None) -> None:
        outcome, error = outcome_of(stream), cancelled_for(reason)
        if stream.failure is not None:
            error.cost_usd = stream.failure.cost_usd
        if outcome == "cancelled":
            # Its worker has done so, unless it was lost, or had failed by itself and left that to us.
            self._close(stream, error, tokens)
        self._stopped(outcome)
