"""That a request shall end before its own end: what its client is told, and who waits to hear what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from shared.errors import Cancelled, CancelledOnRequest
from shared.relay import CANCELLED_BY

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.relay.incoming import IncomingStream
    from shared.relay import CancelReason

Outcome = Literal["cancelled", "completed", "failed"]


class Cancellation:
    """A request is cancelled, by whoever asked first.

    Args:
        reason: who asked.
    """

    def __init__(self, reason: CancelReason) -> None:
        self.reason = reason
        self.error = CancelledOnRequest.by_whom(CANCELLED_BY[reason])
        self._outcome: Outcome | None = None
        self._waiting: list[Callable[[Outcome], None]] = []

    @property
    def is_over(self) -> bool:
        """Return whether it is known what became of the request."""
        return self._outcome is not None

    def report_to(self, report: Callable[[Outcome], None]) -> None:
        """Call `report` once it is known what became of the request."""
        if self._outcome is None:
            self._waiting.append(report)
        else:
            report(self._outcome)

    def ended(self, outcome: Outcome) -> None:
        """Record what became of it."""
        if self._outcome is None:
            self._outcome = outcome
            for report in self._waiting:
                report(outcome)


def outcome_of(stream: IncomingStream) -> Outcome:
    """Return what became of a request whose last attempt was to stop, by what its worker has said."""
    if stream.has_reported and stream.failure is None:
        return "completed"
    is_failed = stream.committed and stream.failure is not None and not isinstance(stream.failure, Cancelled)
    return "failed" if is_failed else "cancelled"
