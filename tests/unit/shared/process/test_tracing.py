"""Traces: when they are wanted, what a process without them loads, and that no collector can hold anything up."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from shared.process.tracing.start import start_tracing
from shared.process.tracing.trace_settings import TraceSettings, read_trace_settings
from shared.process.tracing.tracer import Tracing, carried, headers_of
from shared.settings import environment_for, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
SECRET = "collectors-credential"
CLIENT = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "vendor=1"}


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_SERVICE_NAME": "x", "OTEL_EXPORTER_OTLP_HEADERS": "a=b"},
        {ENDPOINT: "http://c:4318", "OTEL_SDK_DISABLED": "true"},
        {ENDPOINT: "http://c:4318", "OTEL_TRACES_EXPORTER": "none"},
        {ENDPOINT: " "},
    ],
)
def test_traces_are_off_unless_they_are_asked_for(environ: dict[str, str]) -> None:
    """By an endpoint, and not where they are switched off."""
    assert read_trace_settings(environ) is None


def test_an_endpoint_asks_for_traces_without_what_they_say() -> None:
    """Prompts are another setting; a credential in the URL is not kept."""
    wanted = read_trace_settings({ENDPOINT: f"https://me:{SECRET}@collector:4318/otlp"})
    assert wanted == TraceSettings(collector="collector:4318")
    named = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://one/v1/traces", ENDPOINT: "http://two"}
    content = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY"}
    assert read_trace_settings({**named, **content}) == TraceSettings(collector="one", captures_content=True)
    assert read_trace_settings({"OTEL_TRACES_EXPORTER": "otlp"}) == TraceSettings(collector="localhost:4318")


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({ENDPOINT: "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL"),
        ({ENDPOINT: "http://c", "OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER"),
        ({ENDPOINT: "collector:4318"}, "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ({ENDPOINT: "http://[c"}, "OTEL_EXPORTER_OTLP_ENDPOINT"),
    ],
)
def test_what_cannot_be_done_is_said_and_keeps_nothing_from_starting(
    environ: dict[str, str], named: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A platform that sets these variables for all must not stop a gateway."""
    assert start_tracing(read_trace_settings(environ), "api") is None
    (line,) = caplog.messages
    assert line.startswith("there are no traces: ")
    assert named in line


def test_settings_have_what_the_environment_asks(tmp_path: Path) -> None:
    """The only place that reads it."""
    assert load_settings({"CLAW_DATA_DIR": str(tmp_path)}).tracing is None
    wanted = load_settings({"CLAW_DATA_DIR": str(tmp_path), ENDPOINT: "http://c:4318"}).tracing
    assert wanted == TraceSettings(collector="c:4318")


def test_only_who_makes_spans_gets_the_credentials_of_the_collector() -> None:
    """Neither the recorder nor a model server."""
    environ = {ENDPOINT: "http://c", "OTEL_EXPORTER_OTLP_TRACES_HEADERS": f"authorization={SECRET}", "PATH": "/bin"}
    assert environment_for("recorder", environ) == environment_for(None, environ) == {"PATH": "/bin"}
    assert all(environment_for(line, environ) == environ for line in ("web", "local", "gemini", "paid"))


def test_without_traces_nothing_of_opentelemetry_is_loaded() -> None:
    """Of a whole api, of workers, of the command line; also where the extra is installed."""
    code = (
        "import sys; from pathlib import Path; from shared.settings import Settings; "
        "import api.__main__, workers.__main__, cli.main, cli.up.fork_server; from api.app import create_app; "
        "from shared.process.tracing.start import start_tracing; from api.http import span_notes; "
        "create_app(Settings(data_dir=Path('nowhere'))); assert start_tracing(None, 'worker-local') is None; "
        "found = [name for name in sys.modules if name.startswith('opentelemetry') or name == 'google.protobuf']; "
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_the_extra_a_process_says_so_and_serves() -> None:
    """It is asked for, and is not there."""
    code = (
        "import sys, logging; logging.basicConfig(); sys.modules['opentelemetry.sdk'] = None; "
        "from shared.process.tracing.start import start_tracing; "
        "from shared.process.tracing.trace_settings import TraceSettings; "
        "assert start_tracing(TraceSettings(collector='c'), 'api') is None"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "the extra `otel` is not installed" in ran.stderr


async def spans_of(exporter: InMemorySpanExporter, tracing: Tracing) -> list[ReadableSpan]:
    """Return what was sent until the end."""
    await tracing.close()
    return list(exporter.get_finished_spans())


def traced(exporter: InMemorySpanExporter) -> Tracing:
    """Return what sends to an exporter in memory."""
    return Tracing(TraceSettings(collector="nowhere"), "api", exporter)


async def test_a_clients_trace_goes_on_and_travels_on() -> None:
    """The span is a child of the client's, and named to others with the client's state."""
    exporter = InMemorySpanExporter()
    tracing = traced(exporter)
    span = tracing.begin("GET", SpanKind.SERVER, CLIENT, {})
    context = carried(span)
    child = tracing.begin("chat m", SpanKind.CLIENT, headers_of(context), {})
    child.end()
    span.end()
    last, first = await spans_of(exporter, tracing)
    assert context.trace_id == "0af7651916cd43dd8448eb211c80319c"
    assert context.tracestate == "vendor=1"
    assert first.parent is not None
    assert f"{first.parent.span_id:016x}" == "b7ad6b7169203331"
    assert last.parent is not None
    assert last.parent.span_id == span.get_span_context().span_id


@pytest.mark.parametrize(
    "parent",
    [{"traceparent": "nonsense"}, {"traceparent": f"00-{'0' * 32}-{'0' * 16}-01"}, {}, {"tracestate": "a=b"}],
)
async def test_what_is_no_trace_begins_a_new_one(parent: dict[str, str]) -> None:
    """A client cannot break anything with it."""
    exporter = InMemorySpanExporter()
    tracing = traced(exporter)
    tracing.begin("GET", SpanKind.SERVER, parent, {}).end()
    (span,) = await spans_of(exporter, tracing)
    assert span.parent is None


async def test_a_state_that_is_too_long_is_left_out() -> None:
    """Jobs stand in Redis: what a client adds to each is bounded."""
    tracing = traced(InMemorySpanExporter())
    state = ",".join(f"k{number}={'v' * 200}" for number in range(5))
    span = tracing.begin("GET", SpanKind.SERVER, {**CLIENT, "tracestate": state}, {})
    assert carried(span).tracestate == ""
    await tracing.close()


async def test_the_operators_variables_name_service_and_sampler(monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER; without them the process is named."""
    exporter = InMemorySpanExporter()
    tracing = traced(exporter)
    tracing.begin("GET", SpanKind.SERVER, {}, {}).end()
    (span,) = await spans_of(exporter, tracing)
    assert span.resource.attributes["service.name"] == "nself-claw-api"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "gateway")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    exporter = InMemorySpanExporter()
    tracing = traced(exporter)
    tracing.begin("GET", SpanKind.SERVER, {}, {}).end()
    tracing.begin("GET", SpanKind.SERVER, CLIENT, {}).end()
    (span,) = await spans_of(exporter, tracing)
    assert span.parent is not None
    assert span.resource.attributes["service.name"] == "gateway"
    assert span.resource.attributes["deployment.environment.name"] == "test"
    assert span.resource.attributes["nself.process"] == "api"


class _Refusing(BaseHTTPRequestHandler):
    seen: list[str | None]

    def do_POST(self) -> None:
        """Refuse, and show the credential in the answer."""
        self.rfile.read(int(self.headers["content-length"]))
        type(self).seen.append(self.headers["x-collector-key"])
        self.send_response(401)
        self.end_headers()
        self.wfile.write(SECRET.encode())

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def refusing() -> Iterator[HTTPServer]:
    """Yield a collector that takes nothing."""
    _Refusing.seen = []
    with HTTPServer(("127.0.0.1", 0), _Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def test_a_collector_that_refuses_is_said_once_and_no_credential_is_in_the_log(
    refusing: HTTPServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also of headers that cannot be read, which the SDK itself would show."""
    caplog.set_level(logging.DEBUG)
    endpoint = f"http://user:{SECRET}@127.0.0.1:{refusing.server_port}"
    monkeypatch.setenv(ENDPOINT, endpoint)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"x-collector-key={SECRET},no header {SECRET}")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
    wanted = read_trace_settings({ENDPOINT: endpoint})
    tracing = start_tracing(wanted, "api")
    assert tracing is not None
    for _ in range(3):
        tracing.begin("GET", SpanKind.SERVER, {}, {}).end()
    await tracing.close()
    assert _Refusing.seen == [SECRET] * 3
    assert SECRET not in caplog.text
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.INFO]
    assert lines == [
        f"traces do not reach 127.0.0.1:{refusing.server_port}: it says 401. They are dropped; requests go on"
    ]


async def test_a_variable_that_the_sdk_refuses_costs_the_traces_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A batch larger than its queue, say."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "1")
    assert start_tracing(TraceSettings(collector="c"), "api") is None
    assert caplog.messages == ["there are no traces: OpenTelemetry refuses its settings (ValueError)"]


@pytest.fixture
def silent() -> Iterator[int]:
    """Yield the port of a collector that takes connections, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_collector_that_hangs_keeps_no_process_from_ending(silent: int) -> None:
    """Spans beyond the queue are dropped, `begin` and `end` wait for nobody, and the process ends."""
    code = (
        "import asyncio, os; from opentelemetry.trace import SpanKind; "
        "import shared.process.tracing.tracer as tracer; from shared.process.tracing.start import start_tracing; "
        "from shared.process.tracing.trace_settings import read_trace_settings; tracer.CLOSE_S = 0.1; "
        "tracing = start_tracing(read_trace_settings(os.environ), 'api'); "
        "[tracing.begin('GET', SpanKind.SERVER, {}, {}).end() for _ in range(5000)]; "
        "asyncio.run(tracing.close())"
    )
    environment = {ENDPOINT: f"http://127.0.0.1:{silent}", "PATH": "/usr/bin:/bin", "OTEL_EXPORTER_OTLP_TIMEOUT": "600"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=60)
