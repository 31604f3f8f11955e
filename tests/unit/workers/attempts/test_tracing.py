"""The spans of an attempt, by the SDK's exporter in memory."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from shared.errors import Cancelled, GatewayError, Unavailable
from shared.models.catalogue import default_catalogue
from shared.process.tracing.context import TRACE, TraceContext
from shared.process.tracing.trace_settings import TraceSettings
from shared.process.tracing.tracer import Tracing
from shared.types import Delta, Finish, Job, ToolCallDelta, Usage
from workers.attempts.job_request import JobRequest
from workers.attempts.record import now_ms
from workers.attempts.token_count import TokenCount
from workers.attempts.traced_content import MOST_CONTENT_CHARS, MOST_TEXT_CHARS
from workers.attempts.tracing import AttemptTracer

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from workers.attempts.attempt import Attempt
    from workers.backends.backend import ModelSource

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"
WEATHER = {"id": "call-1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}}
MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": [
        {"type": "text", "text": "And this?"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
    ]},
    {"role": "assistant", "content": None, "tool_calls": [WEATHER]},
    {"role": "tool", "tool_call_id": "call-1", "content": "rain"},
]  # fmt: skip


def job_of(messages: list[dict[str, Any]] = MESSAGES, **fields: Any) -> Job:
    """Return an attempt that waited a second in its queue."""
    body = json.dumps({"model": "m", "messages": messages, "seed": 7, "n": 2}).encode()
    known: dict[str, Any] = {
        "request_id": "0" * 32, "attempt": 2, "api_id": "1" * 32, "endpoint": "chat", "requested_model": "auto",
        "stream": True, "admitted_ms": 0, "expires_ms": 0, "tier": "paid", "model": "claude-sonnet-4-5",
        "body": msgspec.Raw(body), "trace": TraceContext(PARENT, queued_ms=now_ms() - 1000),
    }  # fmt: skip
    return Job(**known | fields)


EVENTS = (
    Delta(content="Take an "),
    Delta(content="umbrella."),
    Delta(tool_calls=[ToolCallDelta(0, id="call-2", name="buy", arguments='{"what":"umbrella"}')]),
    Finish("tool_calls"),
)


async def spans_of(job: Job, error: GatewayError | None = None, *, with_content: bool = False) -> list[ReadableSpan]:
    """Return the spans of an attempt that says this, and then ends so."""
    exporter = InMemorySpanExporter()
    tracing = Tracing(TraceSettings(collector="c", captures_content=with_content), "worker-paid", exporter)
    tracer = AttemptTracer(tracing, default_catalogue())
    provider = cast("ModelSource", SimpleNamespace(name="anthropic"))
    span = tracer.begin(job, "arq:queue:paid:anthropic", provider, None)
    asked = JobRequest(job)
    count = TokenCount(job, asked)
    count.is_sent = True
    for event in EVENTS:
        span.add(event)
    count.has_ended = True
    count.take(Usage(1000, 200, cached_tokens=400, reasoning_tokens=50))
    assert span.end(error) is None
    attempt = SimpleNamespace(request=asked, count=count, started_ms=now_ms() - 500, first_ms=now_ms() - 100)
    span.finish(cast("Attempt", attempt))
    await tracing.close()
    return list(exporter.get_finished_spans())


async def test_an_attempt_says_what_the_conventions_name_and_no_prompt() -> None:
    """Counts, parameters, times, cost; the time in the queue beside it."""
    queue, call = await spans_of(job_of())
    assert (queue.name, call.name) == ("queue paid", "chat claude-sonnet-4-5")
    assert queue.start_time is not None
    assert queue.end_time is not None
    assert 1_000_000_000 <= queue.end_time - queue.start_time < 60_000_000_000
    attributes = dict(call.attributes or {})
    assert attributes.pop("nself.cost_usd") == pytest.approx(600 * 3e-6 + 400 * 0.3e-6 + 200 * 15e-6)
    assert attributes.pop("gen_ai.response.time_to_first_chunk") == pytest.approx(0.4, abs=0.01)
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-sonnet-4-5",
        "gen_ai.request.stream": True,
        "gen_ai.request.seed": 7,
        "gen_ai.request.choice.count": 2,
        "gen_ai.response.model": "claude-sonnet-4-5",
        "gen_ai.response.id": "req_" + "0" * 32,
        "gen_ai.response.finish_reasons": ("tool_calls",),
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 200,
        "gen_ai.usage.cache_read.input_tokens": 400,
        "gen_ai.usage.reasoning.output_tokens": 50,
        "nself.usage_source": "reported",
        "nself.request_id": "req_" + "0" * 32,
        "nself.requested_model": "auto",
        "nself.key_id": "internal",
        "nself.attempt": 2,
        "nself.tier": "paid",
        "nself.backend": "paid:anthropic",
    }
    assert [event.name for event in call.events] == ["nself.upstream_asked", "nself.first_token"]


async def test_prompts_and_answers_are_there_where_they_are_asked_for() -> None:
    """In the conventions' form; of an image only that there is one."""
    _, call = await spans_of(job_of(), with_content=True)
    attributes = call.attributes or {}
    assert json.loads(str(attributes["gen_ai.input.messages"])) == [
        {"role": "system", "parts": [{"type": "text", "content": "Be kind."}]},
        {"role": "user", "parts": [{"type": "text", "content": "And this?"}, {"type": "image"}]},
        {
            "role": "assistant",
            "parts": [{"type": "tool_call", "id": "call-1", "name": "weather", "arguments": '{"city":"Rome"}'}],
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "call-1", "response": "rain"}]},
    ]
    assert json.loads(str(attributes["gen_ai.output.messages"])) == [
        {
            "role": "assistant",
            "parts": [
                {"type": "text", "content": "Take an umbrella."},
                {"type": "tool_call", "id": "call-2", "name": "buy", "arguments": '{"what":"umbrella"}'},
            ],
            "finish_reason": "tool_calls",
        }
    ]


async def test_content_is_bounded() -> None:
    """The last messages are kept, and a long one is cut."""
    long = [{"role": "user", "content": f"{number} " + "x" * (2 * MOST_TEXT_CHARS)} for number in range(10)]
    _, call = await spans_of(job_of(long), with_content=True)
    shown = str((call.attributes or {})["gen_ai.input.messages"])
    assert len(shown) < MOST_CONTENT_CHARS + 1000
    assert json.loads(shown)[-1]["parts"][0]["content"].startswith("9 x")
    assert json.loads(shown)[0]["parts"][0]["content"].endswith(" [cut]")


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [(Unavailable("gone"), "upstream_unavailable", "ERROR"), (Cancelled("left"), "cancelled", "UNSET")],
)
async def test_how_an_attempt_failed_is_its_type(error: GatewayError, kind: str, status: str) -> None:
    """Who leaves breaks nothing."""
    _, call = await spans_of(job_of(), error)
    assert (call.attributes or {})["error.type"] == kind
    assert call.status.status_code.name == status
    assert call.status.description == (kind if status == "ERROR" else None)


async def test_a_clock_that_is_behind_makes_no_negative_wait() -> None:
    """Queue and worker may be on two machines."""
    ahead = TraceContext(PARENT, queued_ms=now_ms() + 5000)
    queue, _ = await spans_of(job_of(trace=ahead))
    assert queue.start_time == queue.end_time


async def test_an_attempt_of_no_trace_begins_one_that_the_log_names() -> None:
    """Its api process has none: it may run without the extra."""
    TRACE.set(None)
    (call,) = await spans_of(job_of(trace=None))
    assert call.parent is None
    trace = TRACE.get()
    assert trace is not None
    assert call.context is not None
    assert trace.trace_id == f"{call.context.trace_id:032x}"
