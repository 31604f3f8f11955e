"""Replies that proxies hand on inside of an object of their own, or without the list of choices around them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared import errors
from shared.types import Usage
from tests.unit.workers.providers.test_oddities import read
from tests.upstreams.mutations import Oddity
from tests.upstreams.openai import replies as openai
from tests.upstreams.outcome import Outcome, outcome_of

COUNTS = openai.usage(7, 2)
MESSAGE = {"role": "assistant", "content": "Hello"}
COMPLETION = {"choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}], "usage": COUNTS}
HELLO = Outcome(content="Hello", finish="stop", usage=Usage(7, 2))


def result(wire: str, *values: Any) -> Outcome:
    """Return what a reply of these JSON values amounts to."""
    body = b"".join(json.dumps(value).encode() + b"\n" for value in values)
    return outcome_of(read(wire, Oddity("wrapped", body)))


@pytest.mark.parametrize(
    "body",
    [
        {"data": COMPLETION},
        {"code": 200, "message": "success", "error": None, "data": COMPLETION},
        {"success": True, "errors": [], "result": {"response": COMPLETION}},
        {"data": json.dumps(COMPLETION)},
        {"body": [COMPLETION]},
        {"output": {"choices": COMPLETION["choices"]}, "usage": COUNTS, "request_id": "r"},
        {"message": MESSAGE, "finish_reason": "COMPLETE", "usage": COUNTS},
        {"message": {"role": "assistant", "content": [{"type": "text", "text": "Hello"}]}, "usage": COUNTS},
        {"message": MESSAGE, "done": True, "done_reason": "stop", "usage": COUNTS},
        {"response": "Hello", "success": True, "usage": COUNTS},
        {"content": "Hello", "stop": True, "usage": COUNTS},
        {"generated_text": "Hello", "usage": COUNTS},
    ],
)
def test_a_completion_is_read_wherever_it_stands(body: dict[str, Any]) -> None:
    """Inside of other objects, as a text, in a list, without choices, or as its text alone."""
    assert result("openai", body) == HELLO


def test_calls_are_read_there_too() -> None:
    """Agents wait for nothing else."""
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    found = result("openai", {"data": {"message": message, "finish_reason": "TOOL_CALL"}})
    assert (found.calls, found.finish) == ([("weather", '{"city":"Rome"}')], "tool_calls")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"success": False, "text": "quota"}, errors.Unavailable),
        ({"data": {"error": {"message": "boom", "code": 429}}}, errors.Throttled),
        ({"code": 500, "message": "boom", "data": None}, errors.Unavailable),
        ({"object": "error", "message": {"detail": [{"msg": "boom"}]}}, errors.Unavailable),
        ({"text": "boom", "detail": "no such model"}, errors.Unavailable),
        ({"response": "boom", "status": 503}, errors.Unavailable),
    ],
)
def test_a_failure_is_none_the_less_a_failure(body: dict[str, Any], kind: type[errors.GatewayError]) -> None:
    """However it is wrapped: it never becomes an answer."""
    with pytest.raises(errors.GatewayError) as raised:
        result("openai", body)
    assert isinstance(raised.value, kind | errors.StreamBroken)


def test_chunks_may_be_encoded_twice() -> None:
    """As texts of JSON, by proxies that encode what is JSON already."""
    chunks = [{"choices": [{"delta": {"content": "Hello"}}]}, {"choices": [{"delta": {}, "finish_reason": "stop"}]}]
    stream = b"".join(openai.event(json.dumps(chunk)) for chunk in chunks) + openai.DONE
    assert outcome_of(read("openai", Oddity("twice", stream))).content == "Hello"


def test_an_end_mark_may_stand_behind_a_body() -> None:
    """Of a server that was asked for a stream and made one body."""
    body = json.dumps(COMPLETION).encode() + b"\n\n[DONE]\n"
    assert outcome_of(read("openai", Oddity("end", body))) == HELLO


def test_a_text_beside_a_stream_is_no_part_of_it() -> None:
    """Events of a proxy's own have such fields."""
    noise = openai.event({"type": "status", "content": "searching", "text": "searching", "response": "searching"})
    stream = noise + openai.text("Hello") + noise
    assert outcome_of(read("openai", Oddity("noise", stream))).content == "Hello"


@pytest.mark.parametrize(
    ("wire", "value"),
    [
        ("gemini", {"candidates": [{"content": {"parts": [{"text": "Hello"}]}, "finishReason": "STOP"}]}),
        ("anthropic", {"type": "message", "content": [{"type": "text", "text": "Hello"}], "stop_reason": "end_turn"}),
        ("ollama", {"message": {"content": "Hello"}, "done": True}),
        ("openai-responses",
         {"status": "completed",
          "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}]}),
    ],
)  # fmt: skip
def test_replies_of_all_apis_are_read_inside_of_others(wire: str, value: dict[str, Any]) -> None:
    """Google's Code Assist and proxies hand them on so."""
    for outer in ("data", "response", "result"):
        found = result(wire, {outer: value, "traceId": "t"})
        assert (found.content, found.finish) == ("Hello", "stop")
