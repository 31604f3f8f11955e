"""Each finished request has one line in the log of one process, whoever closed it."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.fleet import Fleet, chat
from tests.streams import usage_rows
from tests.upstreams.numbered import MODEL, NumberedUpstream

if TYPE_CHECKING:
    import httpx

    from tests.conftest import Eventually


@pytest.fixture
def fleet_environment() -> dict[str, str]:
    """Lines as JSON."""
    return {"CLAW_LOG_FORMAT": "json"}


def _lines(fleet: Fleet) -> list[tuple[str, dict[str, Any]]]:
    """Return every line of every process, with the kind of the process."""
    return [
        (process.name.partition("-")[0], json.loads(line))
        for process in fleet.processes
        for line in process.log.read_text().splitlines()
    ]


def _finished(fleet: Fleet) -> list[tuple[str, dict[str, Any]]]:
    return [(kind, line) for kind, line in _lines(fleet) if line["message"] == "finished"]


async def test_one_line_a_request_with_what_the_usage_log_says(
    fleet: Fleet, client: httpx.AsyncClient, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Served, streamed, refused, failed: by its worker or its api, and without what was asked."""
    secret = "the-prompt-nobody-may-see"
    asked = [{"role": "user", "content": secret}]
    await client.post("/v1/chat/completions", json=chat(messages=asked))
    await client.post("/v1/chat/completions", json=chat(messages=asked, stream=True))
    await client.post("/v1/chat/completions", json=chat(messages=asked, temperature="warm"))
    await client.post("/v1/chat/completions", json=chat(messages=asked, model="no\nsuch status=200"))
    upstream.failures = [500]
    await client.post("/v1/chat/completions", json=chat(messages=asked))
    rows = {row["request_id"].hex: row for row in await usage_rows(fleet, eventually, 5)}
    await eventually(lambda: len(_finished(fleet)) >= 5)
    lines = _finished(fleet)
    assert Counter(line["request_id"] for _, line in lines) == Counter(rows.keys())
    assert sorted((kind, line["status"], line.get("error")) for kind, line in lines) == [
        ("api", 400, "invalid_type"),
        ("api", 404, "model_not_found"),
        ("api", 502, "upstream_unavailable"),
        ("local", 200, None),
        ("local", 200, None),
    ]
    for _, line in lines:
        row = rows[line["request_id"]]
        assert (line["key_id"], line["asked"]) == (str(row["key_id"]), row["asked_model"])
        assert line["duration_ms"] == row["duration_ms"]
        assert (line["prompt_tokens"], line["completion_tokens"]) == (row["prompt_tokens"], row["completion_tokens"])
    served = next(line for kind, line in lines if kind == "local")
    assert (served["model"], served["tier"], served["attempts"]) == (MODEL, "local", 1)
    assert served["wait_ms"] <= served["first_token_ms"] <= served["duration_ms"]
    assert secret not in "".join(process.log.read_text() for process in fleet.processes)


async def test_every_line_about_a_request_names_it(
    fleet: Fleet, client: httpx.AsyncClient, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Also the worker's own lines."""
    upstream.failures = [500]
    reply = await client.post("/v1/chat/completions", json=chat())
    await usage_rows(fleet, eventually, 1)
    request_id = reply.headers["x-request-id"].removeprefix("req_")

    def all_named() -> bool:
        named = {(kind, line["level"]) for kind, line in _lines(fleet) if line.get("request_id") == request_id}
        return {("local", "WARNING"), ("api", "INFO")} <= named

    # Who closes a request says so afterwards: its row may be there first.
    await eventually(all_named)
