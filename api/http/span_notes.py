"""What the span of a request will say, noted where it is known. Without traces there are no notes to make."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, Protocol

from shared.process.tracing.context import TRACE
from shared.queue.story import with_trace

if TYPE_CHECKING:
    from api.requests.open_requests import RequestState
    from shared.errors import GatewayError
    from shared.types import Target
    from shared.usage import UsageRecord


class Inflight(Protocol):
    """A request that was admitted."""

    @property
    def served_by(self) -> tuple[Target, int] | None:
        """Return who serves it, and its attempt's number; None until that is decided."""
        ...

    def described(self) -> RequestState:
        """Return where it is now."""
        ...


class ModelRequest(Protocol):
    """A request that asks a model: what its usage entry will say, its session, and itself once it was admitted."""

    record: UsageRecord
    session_id: str

    @property
    def inflight(self) -> Inflight | None:
        """Return it; None until it was admitted."""
        ...


class SpanNotes:
    """What is known of the current request.

    Attributes:
        route: its URL, as the table of URLs has it.
        context: what it asks a model, if it does.
        error: how it failed, if it did.
    """

    __slots__ = ("context", "error", "route")

    def __init__(self) -> None:
        self.route = ""
        self.context: ModelRequest | None = None
        self.error: GatewayError | None = None


NOTES: Final[ContextVar[SpanNotes | None]] = ContextVar("span_notes", default=None)
"""Of the current request, where it is traced."""


def note_context(context: ModelRequest) -> None:
    """Note that the current request asks a model, and in its record which trace it is part of."""
    if (notes := NOTES.get()) is not None:
        notes.context = context
        context.record.story = with_trace((), TRACE.get(), context.record.admitted_ms)


def note_failure(error: GatewayError) -> None:
    """Note how the current request failed."""
    if (notes := NOTES.get()) is not None:
        notes.error = error
