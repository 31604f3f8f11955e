"""Makes spans. Imported only by a process that traces (`start.py`)."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final

from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.process.threads import in_thread
from shared.process.tracing.context import TraceContext
from shared.process.tracing.exporter import CollectorExporter, silence_library
from shared.settings import host_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import Span, SpanKind
    from opentelemetry.util.types import AttributeValue

    from shared.process.tracing.trace_settings import TraceSettings

CLOSE_S: Final = 3.0
"""At the end, how long the last spans may take to be sent."""
MOST_STATE_CHARS: Final = 512
"""A longer `tracestate` is left out of jobs: W3C asks nobody to pass on more."""
_NAME: Final = "nself-claw"
_W3C: Final = TraceContextTextMapPropagator()


class Tracing:
    """Makes the spans of this process.

    Args:
        wanted: what the environment says.
        role: what the process is, as in `api` or `worker-local`.
        exporter: takes the spans, in place of the collector.
    """

    def __init__(self, wanted: TraceSettings, role: str, exporter: SpanExporter | None = None) -> None:
        silence_library()
        self.captures_content = wanted.captures_content
        # The SDK would wait at the end for as long as it takes.
        self._provider = TracerProvider(resource=_resource(role), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter or CollectorExporter(wanted.collector)))
        self._tracer = self._provider.get_tracer(_NAME)

    def begin(
        self,
        name: str,
        kind: SpanKind,
        parent: Mapping[str, str],
        attributes: Mapping[str, AttributeValue],
        start_ms: int | None = None,
    ) -> Span:
        """Begin a span.

        Args:
            name: low in cardinality.
            kind: what it is.
            parent: W3C's headers; what is no trace begins a new one.
            attributes: what a sampler may look at, and more.
            start_ms: when it began, milliseconds since 1970; now if None.
        """
        start_ns = None if start_ms is None else start_ms * 1_000_000
        # An empty context: else the current span would be the parent where the headers name none.
        context = _W3C.extract(parent, context=Context())
        span: Span = self._tracer.start_span(name, context, kind, attributes, start_time=start_ns)
        return span

    async def close(self) -> None:
        """Send what is left, for `CLOSE_S` at most: no collector keeps a process from ending."""
        # A thread that is no daemon would be waited for at the end all the same.
        closing = threading.Thread(target=self._provider.shutdown, name="close traces", daemon=True)
        closing.start()
        await in_thread(closing.join, CLOSE_S)


def carried(span: Span) -> TraceContext:
    """Return a span as it is named to others."""
    context = span.get_span_context()
    state = context.trace_state.to_header()
    return TraceContext(
        traceparent=f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}",
        tracestate=state if len(state) <= MOST_STATE_CHARS else "",
    )


def headers_of(trace: TraceContext | None) -> dict[str, str]:
    """Return W3C's headers for a span that is named by a job; none where it names none."""
    return {} if trace is None else {"traceparent": trace.traceparent, "tracestate": trace.tracestate}


def _resource(role: str) -> Resource:
    """Return what is said of this process beside what `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say."""
    named = Resource.create()
    ours = Resource({"host.name": host_name(), "process.pid": os.getpid(), "nself.process": role})
    # The SDK's own word for it where the operator has none.
    if str(named.attributes[SERVICE_NAME]).startswith("unknown_service"):
        named = named.merge(Resource({SERVICE_NAME: f"{_NAME}-{role}", "service.namespace": _NAME}))
    return ours.merge(named)  # what the operator has set wins
