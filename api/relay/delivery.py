"""The protocol state of one attempt: who has it, what has arrived, and when its worker was last heard."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.relay.incoming import IncomingStream
    from shared.relay import CancelReason

RESEND_S: Final = 0.2
"""Time after which missing frames are requested again."""


class Delivery:
    """One attempt as the receiver sees it; nobody outside of `api/relay` does. Times are of the monotonic clock.

    Args:
        stream: where its frames go.
        on_overrun: called when its client reads too slowly for what has arrived.

    Attributes:
        worker: who has it, as far as a frame has said so.
        expected: the number of the next frame in order.
        unacknowledged: bytes that arrived since the last acknowledgement.
        patient_until: until when it may wait for a worker.
        seen_at: when there was the last sign of life.
        resend_requested_at: when missing frames were last asked for.
        doubted_at: since when it neither waits nor has a worker.
        cancelled: why it was, and what is called once its worker has said that it ended, or is found dead.
    """

    __slots__ = (
        "cancelled",
        "doubted_at",
        "expected",
        "on_overrun",
        "patient_until",
        "resend_requested_at",
        "seen_at",
        "stream",
        "unacknowledged",
        "worker",
    )

    def __init__(self, stream: IncomingStream, on_overrun: Callable[[], None]) -> None:
        self.stream = stream
        self.on_overrun = on_overrun
        self.worker: bytes | None = None
        self.expected = 0
        self.unacknowledged = 0
        self.patient_until = math.inf  # not known before `moved` says in which queue it waits
        self.seen_at = time.monotonic()
        self.resend_requested_at = 0.0
        self.doubted_at: float | None = None
        self.cancelled: tuple[CancelReason, Callable[[], None]] | None = None

    def heard(self, worker: bytes, now: float) -> bool:
        """Record a sign of life; return False when it is not from the first worker that said it has the attempt."""
        if self.worker is None:
            self.worker = worker
        elif self.worker != worker:
            return False
        self.seen_at = now
        return True

    def arrived(self, size: int) -> None:
        """Record that the next frame in order is here."""
        self.expected += 1
        self.unacknowledged += size

    def acknowledged(self) -> None:
        """Record that an acknowledgement is on its way to the worker."""
        self.unacknowledged = 0

    def may_request_resend(self, now: float) -> bool:
        """Return True when missing frames are to be asked for, which is not repeated at once."""
        if self.worker is None or now - self.resend_requested_at <= RESEND_S:
            return False
        self.resend_requested_at = now
        return True

    def moved(self, patience_s: float) -> None:
        """Record that it waits in a queue from now on, for so many seconds at most."""
        self.patient_until = time.monotonic() + patience_s

    def waits(self, now: float) -> None:
        """Record that it was seen waiting in a queue that is served."""
        self.seen_at = now
        self.doubted_at = None

    def doubted_s(self, now: float) -> float:
        """Record that it neither waits nor has a worker; return for how many seconds that has been so."""
        if self.doubted_at is None:
            self.doubted_at = now
        return now - self.doubted_at

    def cancel(self, reason: CancelReason, on_end: Callable[[], None]) -> None:
        """Record that it is to stop; the first reason stands."""
        if self.cancelled is None:
            self.cancelled = (reason, on_end)
