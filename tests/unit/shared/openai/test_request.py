"""What a chat request may be, and what is said of one that may not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.errors import InvalidRequest
from shared.openai.request import ChatRequest, decode_chat

HELLO = [{"role": "user", "content": "hello"}]


def body(**fields: Any) -> bytes:
    """Return a request with these fields."""
    return json.dumps({"model": "auto", "messages": HELLO, **fields}).encode()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": 1}, "model"),
        ({"model": ""}, "model"),
        ({"model": "m" * 257}, "model"),
        ({"messages": [*HELLO, {"role": "function", "name": "f" * 300_000, "content": ""}]}, "messages[1].name"),
        ({"messages": [{"role": "tool", "tool_call_id": "c" * 65_537, "content": ""}]}, "messages[0].tool_call_id"),
        ({"tools": [{"type": "function", "function": {"name": "f" * 257}}]}, "tools[0].function.name"),
        ({"functions": [{"name": "f" * 257}]}, "functions[0].name"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "robot", "content": ""}]}, "messages[0].role"),
        ({"messages": [{"content": ""}]}, "messages[0].role"),
        ({"messages": [*HELLO, {"role": "user"}]}, "messages[1].content"),
        ({"messages": [{"role": "user", "content": [{"type": "smell"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "assistant"}]}, "messages[0].content"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"n": 0}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({"stream": "yes"}, "stream"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tool_choice": "required"}, "tool_choice"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], param: str) -> None:
    """In OpenAI's notation, with status 400."""
    with pytest.raises(InvalidRequest) as raised:
        decode_chat(body(**fields))
    assert (raised.value.status, raised.value.param) == (400, param)
    assert param in raised.value.message


@pytest.mark.parametrize("missing", ["model", "messages"])
def test_a_missing_field_is_named(missing: str) -> None:
    """And has a code of its own."""
    fields = {"model": "auto", "messages": HELLO}
    del fields[missing]
    with pytest.raises(InvalidRequest) as raised:
        decode_chat(json.dumps(fields).encode())
    assert (raised.value.param, raised.value.code) == (missing, "missing_required_parameter")


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'"x"', b"null", b'{"model": "\xff"}', b"[" * 100_000])
def test_what_is_no_json_object_is_reported_to_be_none(raw: bytes) -> None:
    """Whatever the bytes are."""
    with pytest.raises(InvalidRequest) as raised:
        decode_chat(raw)
    assert raised.value.status == 400
    assert "JSON" in raised.value.message


def test_null_means_unset() -> None:
    """As OpenAI's nullable fields have it."""
    chat = decode_chat(body(temperature=None, stop=None, tools=None, stream=None, response_format=None))
    assert (chat.temperature, chat.stop, chat.stream) == (None, None, None)


def test_fields_that_openai_does_not_name_are_kept() -> None:
    """They are for servers that know them (top_k, chat_template_kwargs, ...)."""
    assert ChatRequest(body(top_k=5)).fields["top_k"] == 5


def test_the_newer_output_limit_wins() -> None:
    """max_completion_tokens supersedes max_tokens."""
    assert decode_chat(body(max_tokens=5, max_completion_tokens=7)).output_limit == 7
    assert decode_chat(body(max_tokens=5)).output_limit == 5


def test_functions_without_tools_are_answered_as_they_were_once() -> None:
    """A client that has tools too knows the newer form."""
    functions = [{"name": "f"}]
    tools = [{"type": "function", "function": {"name": "f"}}]
    asked: list[dict[str, Any]] = [
        {"functions": functions},
        {"functions": functions, "tools": tools},
        {"tools": tools},
        {},
    ]
    assert [decode_chat(body(**fields)).has_legacy_calls for fields in asked] == [True, False, False, False]
