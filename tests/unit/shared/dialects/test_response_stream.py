"""Responses made of model events, whatever comes: their streams keep OpenAI's rules, and both forms say the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dialects.base import ReplyHead
from shared.dialects.responses.reply import ResponseEncoder, ResponseFold
from shared.dialects.responses.request import ResponsesRequest
from shared.dialects.responses.stream import ResponseFailure
from shared.types import Delta, Finish, ToolCallDelta, Usage
from tests.e2e.response_rules import events_of, response_faults, response_stream_faults

if TYPE_CHECKING:
    from shared.types import FinishReason

HEAD = ReplyHead("0123456789abcdef" * 2, 1_700_000_000, "m")
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "name": "f", "parameters": {"type": "object"}},
    {"type": "custom", "name": "c"},
    {"type": "namespace", "name": "n", "description": "d", "tools": [{"type": "function", "name": "g"}]},
]
NAMES = ("f", "c", "n__g", "unknown")

texts = st.text(max_size=6)
citations = st.one_of(
    st.builds(
        lambda url, at: {"type": "url_citation", "url_citation": {"url": url, "title": url, "start_index": at}},
        texts,
        st.integers(0, 9) | st.text(max_size=2),
    ),
    st.sampled_from([None, {"type": "file"}, {"url_citation": 3}]),
)
logprobs = st.builds(
    lambda token, top: msgspec.Raw(
        msgspec.json.encode({"content": [{"token": token, "logprob": -1.5, "bytes": None, "top_logprobs": [top]}]})
    ),
    texts,
    st.just({"token": "b", "logprob": -2}),
)
calls = st.builds(
    lambda index, is_first, arguments: ToolCallDelta(
        index, f"call_{index}" if is_first else None, NAMES[index] if is_first else None, arguments
    ),
    st.integers(0, 3),
    st.booleans(),
    st.sampled_from(["", '{"input":"x"}', '{"a', '":1}', "not JSON"]),
)
deltas = st.builds(
    Delta,
    content=st.none() | texts,
    reasoning=st.none() | texts,
    refusal=st.none() | texts,
    tool_calls=st.none() | st.lists(calls, max_size=2),
    logprobs=st.none() | logprobs,
    annotations=st.none() | st.lists(citations, max_size=2),
    extra=st.none() | st.just({"images": [{"type": "image_url"}]}),
    index=st.sampled_from([0, 0, 0, 1]),
)
requests = st.fixed_dictionaries(
    {"model": st.just("m"), "input": st.just("x")},
    optional={
        "reasoning": st.just({"summary": "auto"}),
        "include": st.lists(
            st.sampled_from(["reasoning.encrypted_content", "message.output_text.logprobs"]), max_size=2
        ),
        "tools": st.just(TOOLS),
        "metadata": st.just({"a": "b"}),
        "instructions": texts,
        "temperature": st.none() | st.just(0.5),
        "text": st.sampled_from([{"format": {"type": "json_object"}}, {"verbosity": "low"}, {"format": None}]),
    },
)


@given(
    requests,
    st.lists(deltas, max_size=8),
    st.sampled_from(["stop", "length", "tool_calls", "content_filter"]),
    st.lists(deltas, max_size=2),
)
def test_every_stream_keeps_the_rules_and_says_what_the_body_says(
    fields: dict[str, Any], said: list[Delta], reason: FinishReason, late: list[Delta]
) -> None:
    """Schemas, order, numbers, items that add up, also of what is said after its end; the last event has the body."""
    asked = ResponsesRequest(json.dumps(fields).encode())
    encoder, fold = ResponseEncoder(HEAD, asked), ResponseFold(HEAD, asked)
    stream = b""
    events: list[Delta | Finish] = [*said, Finish(reason), *late]
    for event in events:
        stream += encoder.encode(event)
        fold.add(event)
    usage = Usage(3, 4, cached_tokens=1, reasoning_tokens=2, service_tier="standard")
    stream += encoder.end(usage)
    assert response_stream_faults(stream) == []
    body = json.loads(fold.finished(usage))
    assert response_faults(body) == []
    last = events_of(stream)[0][-1]
    assert last["response"] == body
    assert last["type"] == f"response.{body['status']}"
    assert body["output"], "a response has an item, also where nothing was said"


@given(st.lists(deltas, min_size=1, max_size=4), st.lists(st.integers(1, 40), max_size=6))
def test_a_failure_goes_on_where_the_stream_was(said: list[Delta], cuts: list[int]) -> None:
    """Its numbers follow, wherever the bytes before were cut."""
    encoder = ResponseEncoder(HEAD, ResponsesRequest(b'{"model":"m","input":"x","tools":[]}'))
    stream = b"".join(map(encoder.encode, said))
    failure = ResponseFailure(HEAD)
    rest = stream
    for cut in cuts:
        failure.count(rest[:cut])
        rest = rest[cut:]
    failure.count(rest)
    error = {"message": "It broke off.", "type": "server_error", "param": None, "code": "upstream_stream_broken"}
    assert response_stream_faults(stream + failure.events(error, None)) == []


def test_a_failure_before_any_event_is_numbered_from_0() -> None:
    """As where the head went out while the request waited."""
    error = {"message": "No.", "type": "server_error", "param": None, "code": None}
    assert response_stream_faults(ResponseFailure(HEAD).events(error, "served")) == []


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("context_length_exceeded", "context_length_exceeded"),
        ("insufficient_quota", "insufficient_quota"),
        ("rate_limit_exceeded", "rate_limit_exceeded"),
        ("upstream_garbled", "server_error"),
        (None, "server_error"),
    ],
)
def test_a_failed_response_has_the_codes_that_clients_know(code: str | None, shown: str) -> None:
    """Who is told that the context is too long or the quota spent does not try again."""
    error = {"message": "No.", "type": "invalid_request_error", "param": None, "code": code}
    last = events_of(ResponseFailure(HEAD).events(error, None))[0][-1]
    assert last["response"]["error"] == {"code": shown, "message": "No."}
