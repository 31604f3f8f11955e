"""What servers say in other places, or under other names, than the API that they speak has for it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared import errors
from shared.types import Usage
from tests.unit.workers.providers.test_oddities import read
from tests.upstreams.anthropic import replies as anthropic
from tests.upstreams.mutations import Oddity
from tests.upstreams.openai import replies as openai
from tests.upstreams.outcome import Outcome, outcome_of

COUNTS = openai.usage(7, 2)
SAID = openai.chunk({"content": "Hel"}) + openai.chunk({"content": "lo"})
CALL = {"id": "c", "name": "weather", "arguments": {"city": "Rome"}}


def result(wire: str, reply: bytes) -> Outcome:
    """Return what a reply amounts to."""
    return outcome_of(read(wire, Oddity("place", reply)))


@pytest.mark.parametrize(
    "end",
    [
        openai.event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": COUNTS}]}),
        openai.event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "x_groq": {"usage": COUNTS}}),
        openai.chunk(finish_reason="stop") + openai.event({"usage": COUNTS}),
        openai.chunk(finish_reason="stop") + openai.event({"x_groq": {"id": "r", "usage": COUNTS}}),
    ],
)
def test_tokens_are_counted_wherever_they_are_reported(end: bytes) -> None:
    """In a choice (Moonshot), beside it (Groq), and in a chunk without choices."""
    assert result("openai", SAID + end + openai.DONE) == Outcome(content="Hello", finish="stop", usage=Usage(7, 2))


@pytest.mark.parametrize(
    "piece",
    [
        {"reasoning_content": "hm"},
        {"reasoning": "hm", "reasoning_content": "hm"},
        {"reasoning_text": "hm"},
        {"thinking": "hm"},
        {"reasoning_details": [{"type": "reasoning.text", "text": "h"}, {"type": "reasoning.summary", "summary": "m"}]},
        {"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
    ],
)
def test_reasoning_is_reasoning_by_all_its_names(piece: dict[str, Any]) -> None:
    """And once, where a server sends it under several of them."""
    assert result("openai", openai.chunk(piece) + openai.text("a")).reasoning == "hm"


def test_calls_without_a_function_around_them_are_calls() -> None:
    """The name and the arguments stand beside the id."""
    calls = [("weather", '{"city":"Rome"}')]
    assert (
        result("openai", openai.event({"choices": [{"delta": {"tool_calls": [CALL]}}]}) + openai.text("")).calls
        == calls
    )
    lines = [{"message": {"tool_calls": [CALL]}}, {"done": True}]
    assert result("ollama", b"\n".join(json.dumps(line).encode() for line in lines)).calls == calls


@pytest.mark.parametrize("start", [0, 7])
def test_a_count_that_comes_once_is_not_taken_back(start: int) -> None:
    """Proxies of Anthropic's API know the prompt's size at the start or at the end, and say 0 the other time."""
    begin = anthropic.start().replace(b'"input_tokens": 7', b'"input_tokens": %d' % start)
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"input_tokens": 7 - start}}
    stream = begin + anthropic.text_block(0, "a") + anthropic.raw_event("message_delta", end)
    usage = result("anthropic", stream).usage
    assert usage is not None
    assert usage.prompt_tokens == 7


@pytest.mark.parametrize("content", ["Hello", [{"type": "text", "text": "Hello"}]])
def test_a_message_of_anthropics_api_may_be_an_event(content: Any) -> None:
    """Framed as a stream, and not streamed; its content may be a text."""
    usage = {"input_tokens": 7, "output_tokens": 2}
    message = {"type": "message", "content": content, "stop_reason": "end_turn", "usage": usage}
    for frame in (b"%b", b"data: %b\n\n", b"event: message\ndata: %b\n\ndata: [DONE]\n\n"):
        expected = Outcome(content="Hello", finish="stop", usage=Usage(7, 2))
        assert result("anthropic", frame % json.dumps(message).encode()) == expected


@pytest.mark.parametrize(
    ("reply", "kind", "reason"),
    [
        (b'event: error\ndata: {"message":"boom","code":429}\n\n', errors.Throttled, "boom"),
        (b'event: error\ndata: {"message":"boom"}\n\n', errors.Unavailable, "boom"),
        (b'data: {"message":"boom","code":"429"}\n\n', errors.Throttled, "boom"),
        (b'data: {"detail":"boom"}\n\ndata: [DONE]\n\n', errors.Unavailable, "boom"),
        (b'data: {"error":{"message":"boom","status_code":401}}\n\n', errors.Rejected, "boom"),
        (SAID + b'event: error\ndata: {"message":"boom"}\n\n' + openai.chunk(finish_reason="stop"),
         errors.StreamBroken, "boom"),
        (SAID + b'data: {"message":"boom"}\n\n', errors.StreamBroken, "boom"),
    ],
)  # fmt: skip
def test_errors_without_a_field_of_that_name_are_errors(
    reply: bytes, kind: type[errors.GatewayError], reason: str
) -> None:
    """By the event's name, or where nothing else ended the answer; by their own status, as all others."""
    with pytest.raises(kind) as raised:
        read("openai", Oddity("error", reply))
    assert raised.value.reason == reason


def test_what_may_be_an_error_loses_no_answer() -> None:
    """An event with a message of some kind, in an answer that ends well, says nothing."""
    noise = b'data: {"message":"warming up","detail":"x"}\n\n'
    assert result("openai", noise + SAID + noise + openai.chunk(finish_reason="stop")).content == "Hello"


@pytest.mark.parametrize(
    "fields",
    [
        {"citations": ["https://a", "https://b", "https://a", 7]},
        {"citations": ["https://c"], "search_results": [{"url": "https://a", "title": "A"}, {"url": "https://b"}, {}]},
    ],
)
def test_sources_beside_an_answer_are_its_annotations(fields: dict[str, Any]) -> None:
    """Perplexity's, which it sends again with each chunk; not where the answer has annotations of its own."""
    chunks: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": {"content": "Hello"}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    ]
    stream = b"".join(openai.event({**chunk, **fields}) for chunk in chunks)
    found = [annotation["url_citation"] for annotation in result("openai", stream).annotations]
    assert [(one["url"], one["start_index"], one["end_index"]) for one in found] == [
        ("https://a", 0, 5),
        ("https://b", 0, 5),
    ]
    assert [one["title"] for one in found] == ["A" if "search_results" in fields else "https://a", "https://b"]
    own = openai.event({"choices": [{"index": 0, "delta": {"annotations": [{"type": "x"}]}}]})
    assert result("openai", own + stream).annotations == [{"type": "x"}]


def test_calls_of_nothing_are_none() -> None:
    """Some servers have one in every answer: agents would call a tool without a name, and wait."""
    nothing: list[dict[str, Any]] = [
        {"function_call": {}},
        {"function_call": {"name": "", "arguments": ""}},
        {"tool_calls": [{}]},
        {"tool_calls": [{"index": 0, "id": "", "function": {"name": "", "arguments": ""}}]},
    ]
    for piece in nothing:
        stream = openai.event({"choices": [{"delta": {"content": "Hello", **piece}}]})
        stream += openai.chunk(finish_reason="stop") + openai.DONE
        assert result("openai", stream) == Outcome(content="Hello", finish="stop")
        choice = {"message": {"content": "Hello", **piece}, "finish_reason": "stop"}
        assert result("openai", json.dumps({"choices": [choice]}).encode()) == Outcome(content="Hello", finish="stop")
    empties: list[dict[str, Any]] = [{}, {"function": {}}, {"function": {"name": "", "arguments": {}}}]
    for empty in empties:
        lines = [{"message": {"content": "Hello", "tool_calls": [empty]}}, {"done": True}]
        assert result("ollama", b"\n".join(json.dumps(line).encode() for line in lines)).calls == []
    parts = [{"text": "Hello"}, {"functionCall": {}}]
    said = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}
    assert result("gemini", openai.event(said)) == Outcome(content="Hello", finish="stop")
    block = anthropic.block(1, {"type": "tool_use", "id": "", "name": "", "input": {}})
    stream = anthropic.start() + anthropic.text_block(0, "Hello") + block + anthropic.end()
    assert result("anthropic", stream).calls == []


@pytest.mark.parametrize("error", [{}, {"code": 0, "message": "success"}, {"code": None, "message": ""}, "", False, []])
def test_an_error_that_is_none_loses_no_answer(error: Any) -> None:
    """Some servers have the field in sound answers too."""
    stream = openai.event({"choices": [{"delta": {"content": "Hello"}}], "error": error})
    assert result("openai", stream + openai.chunk(finish_reason="stop")).content == "Hello"
    lines = [{"message": {"content": "Hello"}, "error": error}, {"done": True}]
    assert result("ollama", b"\n".join(json.dumps(line).encode() for line in lines)).content == "Hello"


@pytest.mark.parametrize(
    "reply",
    [
        {"choices": None, "base_resp": {"status_code": 1008, "status_msg": "boom"}},
        {"choices": [], "base_resp": {"status_code": 1008, "status_msg": "boom"}},
        {"success": False, "errors": [{"code": 7000, "message": "boom"}]},
        [{"error": {"code": 503, "message": "boom", "status": "UNAVAILABLE"}}],
        {"error": [{"msg": "boom"}]},
        {"error": {"error": {"message": "boom"}}},
    ],
)
def test_an_error_is_read_in_whatever_it_is_wrapped(reply: Any) -> None:
    """MiniMax's, Cloudflare's and Google's, with the status 200."""
    with pytest.raises(errors.Unavailable) as raised:
        read("openai", Oddity("error", json.dumps(reply).encode()))
    assert raised.value.reason == "boom"


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (COUNTS, {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}),
        ({"prompt_tokens": 7, "completion_tokens": 0}, {"prompt_tokens": 0, "completion_tokens": 2}),
        (None, {"input_tokens": 7, "output_tokens": 2}),
        (COUNTS, None),
    ],
)
def test_what_was_counted_stays_counted(first: Any, last: Any) -> None:
    """Zeros after counts are no report, and proxies of other APIs leave the names of those."""
    stream = openai.event({"choices": [{"delta": {"content": "Hello"}}], "usage": first})
    stream += openai.chunk(finish_reason="stop") + openai.event({"choices": [], "usage": last}) + openai.DONE
    events = read("openai", Oddity("usage", stream))
    usage = events[-1]
    assert isinstance(usage, Usage)
    assert (usage.prompt_tokens, usage.completion_tokens) == (7, 2)
    google = [{"promptTokenCount": 7, "candidatesTokenCount": 2}, {"promptTokenCount": 0, "candidatesTokenCount": 0}]
    texts = [{"candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}], "usageMetadata": usage}
             for usage in google]  # fmt: skip
    assert result("gemini", b"".join(map(openai.event, texts))).usage == Usage(7, 2)


def test_gemini_may_be_spelled_as_its_sdk_for_python_has_it() -> None:
    """Its fields, not those of a call's arguments or of a text."""
    arguments = {"finish_reason": {"usage_metadata": 1}, "aB": 2}
    parts: list[dict[str, Any]] = [
        {"text": "hm", "thought": True},
        {"text": '"finish_reason": 2'},
        {"inline_data": {"mime_type": "image/png", "data": "AAAA"}},
        {"function_call": {"name": "weather", "args": arguments}, "thought_signature": "s"},
    ]
    counts = {"prompt_token_count": 7, "candidates_token_count": 2, "thoughts_token_count": 3}
    grounding = {"grounding_chunks": [{"web": {"uri": "https://a", "title": "A"}}]}
    candidate = {"content": {"parts": parts}, "finish_reason": 1, "grounding_metadata": grounding}
    outcome = result("gemini", openai.event({"candidates": [candidate], "usage_metadata": counts}))
    assert (outcome.content, outcome.reasoning, outcome.finish) == ('"finish_reason": 2', "hm", "tool_calls")
    assert outcome.calls == [("weather", json.dumps(arguments, separators=(",", ":")))]
    assert outcome.usage == Usage(7, 5, reasoning_tokens=3)
    assert [one["url_citation"]["url"] for one in outcome.annotations] == ["https://a"]
    blocked = openai.event({"prompt_feedback": {"block_reason": "SAFETY"}})
    assert result("gemini", blocked).finish == "content_filter"


@pytest.mark.parametrize(
    ("choice", "thoughts"),
    [
        ({"delta": {}, "message": {"content": "Hello"}}, ""),
        ({"delta": {"content": None}, "text": "Hello"}, ""),
        ({"delta": {"content": "Hello"}, "message": {"content": "Hello"}}, ""),
        ({"delta": {"content": [{"type": "text", "text": {"value": "Hello", "annotations": []}}]}}, ""),
        ({"delta": {"content": [{"type": "reasoning", "text": "hm"}, {"type": "text", "text": "Hello"}]}}, "hm"),
        ({"delta": {"content": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
                                {"type": "output_text", "text": "Hello"}]}}, "hm"),
    ],
)  # fmt: skip
def test_a_text_is_found_in_whichever_place_has_one(choice: dict[str, Any], thoughts: str) -> None:
    """And once, where it stands in two of them."""
    stream = openai.event({"choices": [choice]}) + openai.chunk(finish_reason="stop")
    assert result("openai", stream) == Outcome(content="Hello", reasoning=thoughts, finish="stop")
