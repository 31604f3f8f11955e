"""Notes for the span of a request, made where something is known. Without traces there are no notes to make."""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

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


class LostAttempt(NamedTuple):
    """An attempt whose worker died, which can say nothing of it any more; times are milliseconds since 1970."""

    attempt: int
    target: Target
    begun_ms: int
    lost_ms: int


class SpanNotes:
    """The notes of the current request.

    Attributes:
        route: its URL, as the table of URLs has it.
        context: what it asks a model, if it does.
        error: how it failed, if it did.
        lost: its attempts whose worker died.
    """

    __slots__ = ("context", "error", "lost", "route")

    def __init__(self) -> None:
        self.route = ""
        self.context: ModelRequest | None = None
        self.error: GatewayError | None = None
        self.lost: list[LostAttempt] = []


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


def note_lost(attempt: int, target: Target, started_at: float | None) -> None:
    """Note that the worker of an attempt of the current request died.

    Args:
        attempt: its number, from 1.
        target: where it was.
        started_at: when the worker said that it begins, by the monotonic clock; None where it did not come to that.
    """
    if (notes := NOTES.get()) is not None and started_at is not None:
        now_ms = int(time.time() * 1000)
        notes.lost.append(LostAttempt(attempt, target, now_ms - int((time.monotonic() - started_at) * 1000), now_ms))
