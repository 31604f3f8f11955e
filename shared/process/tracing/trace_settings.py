"""Settings of traces: OpenTelemetry's own variables say so, and its SDK reads the rest of them itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

OTLP_PREFIX: Final = "OTEL_EXPORTER_OTLP_"
"""Beginning of the variables that say where traces go, and with which credentials."""
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_EXPORTER: Final = "OTEL_TRACES_EXPORTER"
_CONTENT: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
# `true` was the first form of it. Not `event_only`: there are spans here and no events.
_WITH_CONTENT: Final = frozenset({"true", "span_only", "span_and_event"})
_DEFAULT_ENDPOINT: Final = "http://localhost:4318"
_OURS: Final = "http/protobuf"


class TraceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Traces are asked for: the collector's host, whether they show prompts and answers, and why there are none."""

    collector: str
    captures_content: bool = False
    unusable: str = ""

    def __str__(self) -> str:
        return self.unusable or self.collector + (", with prompts and answers" if self.captures_content else "")


def read_trace_settings(environ: Mapping[str, str]) -> TraceSettings | None:
    """Return what the environment says of traces; None where nobody asks for them.

    They are asked for by an endpoint, or by `OTEL_TRACES_EXPORTER=otlp` for a collector on this machine.
    """
    exporter = _first(environ, _EXPORTER).lower()
    endpoint = _first(environ, *_ENDPOINTS)
    is_off = _first(environ, "OTEL_SDK_DISABLED").lower() == "true" or exporter == "none"
    if is_off or not (endpoint or exporter):
        return None
    collector = _host(endpoint or _DEFAULT_ENDPOINT)
    protocol = _first(environ, *_PROTOCOLS).lower() or _OURS
    unusable = ""
    if exporter not in {"", "otlp"}:
        unusable = f"{_EXPORTER} is not `otlp`, the only exporter that the gateway has"
    elif protocol != _OURS:
        unusable = f"{_PROTOCOLS[1]} is not `{_OURS}`, the only protocol that the gateway speaks (port 4318 mostly)"
    elif not collector:
        unusable = f"{_ENDPOINTS[1]} is no URL with http:// or https://"
    content = _first(environ, _CONTENT).lower() in _WITH_CONTENT
    return TraceSettings(collector=collector, captures_content=content, unusable=unusable)


def _first(environ: Mapping[str, str], *names: str) -> str:
    return next((value for name in names if (value := environ.get(name, "").strip())), "")


def _host(endpoint: str) -> str:
    """Return host and port of a URL, without what may be a credential; empty where it is no URL of HTTP."""
    try:
        url = urlsplit(endpoint)
        port = "" if url.port is None else f":{url.port}"
    except ValueError:
        return ""
    return f"{url.hostname}{port}" if url.scheme in {"http", "https"} and url.hostname else ""
