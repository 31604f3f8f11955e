"""The span of each request to the api, which those of its attempts hang from. Imported only where traces are wanted.

A client's `traceparent` is its parent. Names are those of OpenTelemetry's conventions for HTTP servers and, of what is
asked of a model, for generative AI.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import SpanKind, Status, StatusCode
from quart import request

from api.http.span_notes import NOTES, SpanNotes
from shared.errors import Cancelled, GatewayError, WorkerLost
from shared.process.tracing.context import TRACE
from shared.process.tracing.tracer import carried, headers_of
from shared.redis.names import place_of_queue

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from opentelemetry.trace import Span
    from opentelemetry.util.types import AttributeValue
    from quart import Quart

    from api.http.span_notes import ModelRequest
    from shared.process.tracing.tracer import Tracing

_UNTRACED: Final = ("/health", "/ready", "/ui/static/")
"""Paths without spans: they are asked for again and again, and say nothing of a request."""
_CARRIED: Final = {b"traceparent", b"tracestate"}


class TracedRequests:
    """ASGI middleware that makes a span of each request.

    Args:
        app: what it wraps.
        tracing: makes spans.
    """

    def __init__(self, app: Callable[..., Coroutine[Any, Any, None]], tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Call the app; its span ends with the last byte of the response."""
        if scope["type"] != "http" or scope["path"].startswith(_UNTRACED):
            await self._app(scope, receive, send)
            return
        status, notes, span = 0, SpanNotes(), self._begin(scope)

        async def sending(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        # Set anew by each request of a connection, all of which are in one task.
        NOTES.set(notes)
        TRACE.set(carried(span))
        try:
            await self._app(scope, receive, sending)
        except asyncio.CancelledError:
            notes.error = notes.error or Cancelled("The client has left.")
            raise
        finally:
            self._record_lost(span, notes)
            _end(span, scope["method"], notes, status)
            NOTES.set(None)
            TRACE.set(None)

    def _begin(self, scope: Any) -> Span:
        attributes: dict[str, AttributeValue] = {
            "http.request.method": scope["method"],
            "url.path": scope["path"],
            "url.scheme": scope["scheme"],
            "network.protocol.version": scope["http_version"],
        }
        parent = _carried_by(scope["headers"])
        return self._tracing.begin(scope["method"], SpanKind.SERVER, parent, attributes)

    def _record_lost(self, request_span: Span, notes: SpanNotes) -> None:
        """Make the spans of attempts whose workers took theirs along when they died."""
        if notes.context is None:
            return
        record = notes.context.record
        for lost in notes.lost:
            attributes: dict[str, AttributeValue] = {
                "gen_ai.operation.name": _operation(record.endpoint),
                "gen_ai.request.model": lost.target.model,
                "nself.request_id": f"req_{record.request_id}",
                "nself.attempt": lost.attempt,
                "nself.tier": lost.target.tier,
                "nself.backend": place_of_queue(lost.target.queue),
                "error.type": WorkerLost.code,
            }
            name, parent = f"{_operation(record.endpoint)} {lost.target.model}", headers_of(carried(request_span))
            span = self._tracing.begin(name, SpanKind.CLIENT, parent, attributes, lost.begun_ms)
            span.set_status(Status(StatusCode.ERROR, WorkerLost.code))
            span.end(lost.lost_ms * 1_000_000)


def add_tracing(app: Quart, tracing: Tracing) -> None:
    """Let an app make a span of each of its requests."""
    app.asgi_app = TracedRequests(app.asgi_app, tracing)  # type: ignore[method-assign]  # Quart's way to add middleware

    @app.before_request
    async def note_route() -> None:
        if (notes := NOTES.get()) is not None and request.url_rule is not None:
            notes.route = request.url_rule.rule

    @app.after_serving
    async def close() -> None:
        await tracing.close()


def _carried_by(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return W3C's headers of a request; several of `tracestate` are one list."""
    found: dict[str, str] = {}
    for name, value in headers:
        if name in _CARRIED:
            key, text = name.decode(), value.decode("latin-1")
            found[key] = f"{found[key]},{text}" if key in found else text
    return found


def _end(span: Span, method: str, notes: SpanNotes, status: int) -> None:
    """End a request's span with what has become known of it."""
    if span.is_recording():
        if notes.route:
            span.update_name(f"{method} {notes.route}")
            span.set_attribute("http.route", notes.route)
        if status:
            span.set_attribute("http.response.status_code", status)
        if notes.context is not None:
            _set_attributes(span, notes.context)
        if (kind := _error_type(notes.error, status)) is not None:
            span.set_attribute("error.type", kind)
            # OpenTelemetry's conventions for HTTP servers: a 4xx is the client's failure, and not the span's.
            if not isinstance(notes.error, Cancelled) and (notes.error is None or notes.error.status >= 500):
                span.set_status(Status(StatusCode.ERROR, kind))
    span.end()


def _error_type(error: GatewayError | None, status: int) -> str | None:
    if error is not None:
        return error.code or type(error).__name__
    return str(status) if status >= 500 else None


def _operation(endpoint: str) -> str:
    return "embeddings" if endpoint == "embeddings" else "chat"


def _set_attributes(span: Span, context: ModelRequest) -> None:
    """Add what a request asked a model, and what happened to it."""
    record, inflight = context.record, context.inflight
    attributes: dict[str, AttributeValue] = {
        "gen_ai.operation.name": _operation(record.endpoint),
        "nself.endpoint": record.endpoint,
        "nself.request_id": f"req_{record.request_id}",
        "nself.key_id": record.key_id or "internal",
    }
    if record.requested_model:
        attributes["gen_ai.request.model"] = record.requested_model
    if record.stream:
        attributes["gen_ai.request.stream"] = True
    if context.session_id:
        attributes["gen_ai.conversation.id"] = context.session_id
    if inflight is not None:
        state = inflight.described()
        attributes |= {"nself.attempts": state.attempt, "nself.backend": state.backend, "nself.tier": state.tier}
        if inflight.served_by is not None:
            attributes["gen_ai.response.model"] = state.model
        for event in state.story:
            span.add_event(f"nself.{event.what}", {"detail": event.detail}, event.at_ms * 1_000_000)
    span.set_attributes(attributes)
