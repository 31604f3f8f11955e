"""Traces of real processes at a real collector: one for each request, over api, queue and workers."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.collector import CollectedSpan, Collector
from tests.fleet import INTERNAL_SECRET, Fleet, Process, chat, ready
from tests.streams import usage_rows
from tests.upstreams.numbered import MODEL, NumberedUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.conftest import Eventually

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
CLIENT_SPAN = "b7ad6b7169203331"
TRACED = {"traceparent": f"00-{TRACE_ID}-{CLIENT_SPAN}-01", "tracestate": "vendor=1"}
PROMPT = "the-prompt-nobody-may-see"


@pytest.fixture
async def collector(tmp_path: Path) -> AsyncIterator[Collector]:
    """Yield a collector."""
    async with Collector(tmp_path) as started:
        yield started


@pytest.fixture
def fleet_environment(collector: Collector) -> dict[str, str]:
    """Traces, and a credential that no log may show."""
    return {
        **collector.environment,
        "OTEL_EXPORTER_OTLP_HEADERS": "x-key=the-collectors-credential",
        "CLAW_LOG_FORMAT": "json",
    }


async def _trace(
    collector: Collector, eventually: Eventually, names: list[str], trace_id: str = TRACE_ID
) -> dict[str, list[CollectedSpan]]:
    """Return the spans of a trace by name, in the order of their beginnings, once those of these names are there."""

    async def all_there() -> list[CollectedSpan]:
        found = [span for span in collector.spans() if span.trace_id == trace_id]
        return found if sorted(span.name for span in found) == sorted(names) else []

    spans: dict[str, list[CollectedSpan]] = {}
    for span in sorted(await eventually(all_there), key=lambda span: span.start_ns):
        spans.setdefault(span.name, []).append(span)
    return spans


ROOT, CALL, QUEUE = "POST /v1/chat/completions", f"chat {MODEL}", "queue local"


async def test_a_request_is_one_trace_over_api_queue_and_worker(
    fleet: Fleet, client: httpx.AsyncClient, collector: Collector, eventually: Eventually
) -> None:
    """It continues the client's, names model, tokens and times as the conventions say, and shows no prompt."""
    asked = chat(messages=[{"role": "user", "content": PROMPT}], stream=True, temperature=0.5, max_tokens=100)
    reply = await client.post("/v1/chat/completions", json=asked, headers=TRACED)
    (row,) = await usage_rows(fleet, eventually, 1)
    spans = await _trace(collector, eventually, [ROOT, QUEUE, CALL])
    (root,), (queue,), (call,) = spans[ROOT], spans[QUEUE], spans[CALL]
    assert (root.kind, queue.kind, call.kind) == ("SPAN_KIND_SERVER", "SPAN_KIND_INTERNAL", "SPAN_KIND_CLIENT")
    assert (root.parent_id, queue.parent_id, call.parent_id) == (CLIENT_SPAN, root.span_id, root.span_id)
    assert root.start_ns <= queue.start_ns + 1_000_000
    assert queue.start_ns <= queue.end_ns <= call.end_ns
    assert root.resource["service.name"] == "nself-claw-api"
    assert call.resource["service.name"] == queue.resource["service.name"] == "nself-claw-worker-local"
    told = {
        "http.request.method": "POST",
        "http.route": "/v1/chat/completions",
        "http.response.status_code": "200",
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": MODEL,
        "gen_ai.response.model": MODEL,
        "gen_ai.request.stream": "true",
        "nself.request_id": reply.headers["x-request-id"],
        "nself.key_id": str(row["key_id"]),
        "nself.attempts": "1",
        "nself.tier": "local",
    }
    assert {name: root.attributes[name] for name in told} == told
    told = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": MODEL,
        "gen_ai.request.stream": "true",
        "gen_ai.request.temperature": "0.5",
        "gen_ai.request.max_tokens": "100",
        "gen_ai.usage.input_tokens": "3",
        "gen_ai.usage.output_tokens": "20",
        "nself.attempt": "1",
        "nself.usage_source": "reported",
    }
    assert {name: call.attributes[name] for name in told} == told
    assert "stop" in call.attributes["gen_ai.response.finish_reasons"]
    assert float(call.attributes["gen_ai.response.time_to_first_chunk"]) >= 0
    assert call.attributes["nself.backend"].endswith(f"{call.attributes['server.port']}/v1")
    assert call.events == ["nself.upstream_asked", "nself.first_token"]
    assert "error.type" not in root.attributes | call.attributes
    shown = "".join(path.read_text() for path in fleet.directory.glob("*") if path.is_file())
    assert PROMPT not in shown
    assert "the-collectors-credential" not in shown


async def test_a_request_that_failed_over_has_a_span_for_each_attempt(
    fleet: Fleet, client: httpx.AsyncClient, upstream: NumberedUpstream, collector: Collector, eventually: Eventually
) -> None:
    """The failed one with its error; what happened stands at the request's own span too, and in its log."""
    async with NumberedUpstream() as second:
        for host in (upstream, second):
            host.failures = [500]
        await fleet.worker(CLAW_LOCAL_OPENAI_URL=second.url)
        headers = {"x-internal-token": INTERNAL_SECRET}
        async with httpx.AsyncClient(base_url=client.base_url, headers=headers, timeout=60) as operator:

            async def both_serve() -> bool:
                return len((await operator.get("/claw/queue")).json()["backends"]) == 2

            await eventually(both_serve)
            failed = await client.post("/v1/chat/completions", json=chat(), headers=TRACED)
            await usage_rows(fleet, eventually, 1)
            query = {"request_id": failed.headers["x-request-id"]}
            [row] = (await operator.get("/claw/v1/usage", params=query)).json()["usage"]
    assert failed.status_code == 502
    spans = await _trace(collector, eventually, [ROOT, QUEUE, QUEUE, CALL, CALL])
    (root,), calls = spans[ROOT], spans[CALL]
    assert [call.attributes["nself.attempt"] for call in calls] == ["1", "2"]
    assert {call.attributes["error.type"] for call in calls} == {"upstream_unavailable"}
    assert {call.status for call in (*calls, root)} == {"STATUS_CODE_ERROR"}
    assert {call.attributes["nself.backend"] for call in calls} == {
        queue.attributes["nself.backend"] for queue in spans[QUEUE]
    }
    assert root.attributes["error.type"] == "upstream_unavailable"
    assert root.attributes["nself.attempts"] == "2"
    assert root.events == ["nself.failed"]
    assert [event["what"] for event in row["story"]] == ["traced", "failed"]
    assert row["story"][0]["detail"] == TRACE_ID
    request_id = failed.headers["x-request-id"].removeprefix("req_")
    lines = [json.loads(line) for process in fleet.processes for line in process.log.read_text().splitlines()]
    about = [line for line in lines if line.get("request_id") == request_id]
    assert {line["message"] for line in about} >= {"finished"}
    assert len(about) >= 3
    assert {line["trace_id"] for line in about} == {TRACE_ID}


async def test_what_was_refused_is_a_trace_of_the_api_alone(
    fleet: Fleet, client: httpx.AsyncClient, collector: Collector, eventually: Eventually
) -> None:
    """With the caller's error, which is none of the server's; what is asked again and again has no span."""
    await client.post("/v1/chat/completions", json=chat(temperature="warm"), headers=TRACED)
    await client.get("/ready", headers=TRACED)
    await client.get("/v1/models", headers=TRACED)
    spans = await _trace(collector, eventually, [ROOT, "GET /v1/models"])
    (refused,) = spans[ROOT]
    assert refused.attributes["error.type"] == "invalid_type"
    assert (refused.attributes["http.response.status_code"], refused.status) == ("400", "STATUS_CODE_UNSET")
    assert refused.attributes["gen_ai.request.model"] == MODEL
    (row,) = await usage_rows(fleet, eventually, 1)
    assert TRACE_ID in row["story"]


async def test_a_client_that_leaves_breaks_nothing(
    fleet: Fleet, client: httpx.AsyncClient, upstream: NumberedUpstream, collector: Collector, eventually: Eventually
) -> None:
    """Both spans say so, and neither is an error."""
    upstream.hold_at = 1
    async with client.stream("POST", "/v1/chat/completions", json=chat(stream=True), headers=TRACED) as reply:
        await anext(reply.aiter_bytes())
    spans = await _trace(collector, eventually, [ROOT, QUEUE, CALL])
    for name in (ROOT, CALL):
        assert spans[name][0].attributes["error.type"] == "cancelled"
        assert spans[name][0].status == "STATUS_CODE_UNSET"
    await usage_rows(fleet, eventually, 1)


async def test_the_api_makes_the_span_of_an_attempt_whose_worker_died(
    fleet: Fleet, client: httpx.AsyncClient, upstream: NumberedUpstream, collector: Collector, eventually: Eventually
) -> None:
    """Which took its own along: from when it began until its worker was found to be dead."""
    upstream.hold_at, named = 0, {**TRACED, "x-client-request-id": "mine"}
    asked = asyncio.create_task(client.post("/v1/chat/completions", json=chat(), headers=named))

    async def runs() -> bool:
        return bool((await client.get("/v1/requests/mine")).json().get("status") == "running")

    await eventually(runs)
    (worker,) = (process for process in fleet.processes if process.name.startswith("local"))
    worker.kill()
    reply = await asked

    async def told() -> dict[str, CollectedSpan]:
        found = {span.name: span for span in collector.spans() if span.trace_id == TRACE_ID}
        return found if {ROOT, CALL} <= set(found) else {}

    spans = await eventually(told)
    root, call = spans[ROOT], spans[CALL]
    assert (
        reply.json()["error"]["code"] == root.attributes["error.type"] == call.attributes["error.type"] == "worker_lost"
    )
    assert (call.parent_id, call.status, call.kind) == (root.span_id, "STATUS_CODE_ERROR", "SPAN_KIND_CLIENT")
    assert (call.attributes["nself.attempt"], call.attributes["nself.tier"]) == ("1", "local")
    assert call.resource["service.name"] == "nself-claw-api"
    assert root.start_ns - 1_000_000 <= call.start_ns < call.end_ns <= root.end_ns
    await usage_rows(fleet, eventually, 1)


def _says(process: Process, text: str) -> bool:
    return text in process.log.read_text()


async def test_without_a_collector_requests_are_served(
    fleet: Fleet, collector: Collector, eventually: Eventually
) -> None:
    """Nobody listens there: a warning in each process, and nothing else."""
    nowhere = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    del collector
    api, worker = await fleet.api(**nowhere), await fleet.worker(**nowhere)
    await fleet.recorder()
    await ready(api, eventually)
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=60) as client:
        reply = await client.post("/v1/chat/completions", json=chat())
    assert reply.status_code == 200
    for process in (api, worker):
        await eventually(partial(_says, process, "traces do not reach 127.0.0.1:9"))
        process.terminate()
        assert await process.process.wait() == 0
