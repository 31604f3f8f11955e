"""Sends spans to a collector by OTLP over HTTP, from the SDK's own thread: no request waits for it, and none fails."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan

_log = logging.getLogger(__name__)
SILENT: Final = logging.CRITICAL + 1


def silence_library() -> None:
    """Keep OpenTelemetry's own lines out of the log: some show headers, with the credential in them."""
    logging.getLogger("opentelemetry").setLevel(SILENT)
    # Of the exporter's connections: a line for each retry.
    logging.getLogger("urllib3").setLevel(logging.ERROR)


class CollectorExporter(SpanExporter):
    """Sends spans, and logs the beginning and the end of each time in which it cannot.

    Args:
        collector: host and port, for the log.
    """

    def __init__(self, collector: str) -> None:
        self._collector = collector
        self._status: int | None = None
        self._lost = 0
        session = requests.Session()
        # A collector that sends elsewhere would get the headers sent there too.
        session.max_redirects = 0
        session.hooks["response"].append(self._note_status)
        self._exporter: SpanExporter = OTLPSpanExporter(session=session)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans; those that cannot be sent are lost."""
        self._status = None
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            if self._lost:
                _log.info("traces reach %s again; %d spans were lost", self._collector, self._lost)
            self._lost = 0
            return result
        if not self._lost:
            state = "it does not answer" if self._status is None else f"it says {self._status}"
            _log.warning("traces do not reach %s: %s. They are dropped; requests go on", self._collector, state)
        self._lost += len(spans)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Do nothing: nothing is held here."""
        del timeout_millis
        return True

    def _note_status(self, response: requests.Response, *_: Any, **__: Any) -> None:
        self._status = response.status_code
