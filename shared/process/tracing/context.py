"""The span that the current task works for, in W3C's form: it travels in jobs, and log lines name its trace.

Knows nothing of OpenTelemetry: without traces this is a variable that nobody sets.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

import msgspec


class TraceContext(msgspec.Struct, frozen=True, omit_defaults=True):
    """A span as W3C's headers name it; of a job, with when it was put into its queue (milliseconds since 1970)."""

    traceparent: str
    tracestate: str = ""
    queued_ms: int = 0

    @property
    def trace_id(self) -> str:
        """Return the id of its trace, 32 hex digits."""
        return self.traceparent[3:35]


TRACE: Final[ContextVar[TraceContext | None]] = ContextVar("trace", default=None)
"""The span that the current task works for."""


def current_trace_id() -> str:
    """Return the id of the trace that the current task is part of; empty where there is none."""
    trace = TRACE.get()
    return "" if trace is None else trace.trace_id
