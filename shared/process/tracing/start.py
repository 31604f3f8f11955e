"""The start of tracing in a process: only where that is asked for is anything of OpenTelemetry imported."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.process.tracing.trace_settings import TraceSettings
    from shared.process.tracing.tracer import Tracing

_log = logging.getLogger(__name__)


def start_tracing(wanted: TraceSettings | None, role: str) -> Tracing | None:
    """Return what makes the spans of this process; None where nobody wants traces, or they cannot be had.

    In a fork it is called after the fork: it starts a thread.

    Args:
        wanted: what the environment says.
        role: what the process is, as in `api` or `worker-local`.
    """
    if wanted is None:
        return None
    if wanted.unusable:
        _log.warning("there are no traces: %s", wanted.unusable)
        return None
    try:
        # Only here: a process without traces does not pay for what they need.
        from shared.process.tracing.tracer import Tracing  # noqa: PLC0415 -- see above
    except ImportError as error:
        _log.warning(
            "there are no traces: OTEL_ variables ask for them, but the extra `otel` is not installed (%s is missing): "
            "make otel, or pip install '.[otel]'",
            error.name,
        )
        return None
    try:
        return Tracing(wanted, role)
    except Exception as error:  # noqa: BLE001 -- an OTEL_ variable that cannot be used must not keep a gateway from serving
        # Not the error's text: it may have a value that is a credential.
        _log.warning("there are no traces: OpenTelemetry refuses its settings (%s)", type(error).__name__)
        return None
