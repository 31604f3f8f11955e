"""What Anthropic's API would say of a request: the SDK's published types, and the rules beyond types."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, get_type_hints

from anthropic.types import MessageParam, ToolParam, message_create_params
from pydantic import TypeAdapter

_Params = message_create_params.MessageCreateParamsStreaming
_params = TypeAdapter(_Params)
_messages = TypeAdapter(list[MessageParam])
_tools = TypeAdapter(list[ToolParam])
_FIELDS = set(get_type_hints(_Params))
_IDS = re.compile(r"^[a-zA-Z0-9_-]+$")
_STRICT_KEYWORDS = {
    "type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf", "allOf", "$ref",
    "$defs", "definitions", "description", "title", "default", "format", "minItems",
}  # fmt: skip
# Models that think only as they please; those of them that cannot be stopped from it, nor forced to call a tool.
_ADAPTIVE_ONLY = {"claude-opus-5-5", "claude-sonnet-5-5", "claude-opus-5", "claude-sonnet-5", "claude-opus-4-8"}
_UNFORCED = {"claude-opus-5-5", "claude-sonnet-5-5"}
_MANUAL_ONLY = {"claude-sonnet-4-5", "claude-haiku-4-5"}
_THINKS_UNASKED = {"claude-opus-5", "claude-sonnet-5"}


def check(body: dict[str, Any]) -> None:
    """Fail for a request that Anthropic would refuse.

    Raises:
        AssertionError: a rule is broken.
        pydantic.ValidationError: a type is wrong.
        KeyError: a field is missing.
    """
    assert not set(body) - _FIELDS, f"extra inputs are not permitted: {set(body) - _FIELDS}"
    _params.validate_python({**body, "messages": [], "tools": []})
    # pydantic validates an Iterable lazily, so lists are checked by themselves.
    _messages.validate_python(body["messages"])
    _tools.validate_python(body.get("tools", []))
    assert body["stream"] is True, "the gateway always streams"
    assert body["max_tokens"] >= 1
    system = body.get("system", "x")
    texts = [system] if isinstance(system, str) else [block["text"] for block in system]
    assert texts, "the system text must not be empty"
    assert all(text.strip() for text in texts), "the system text must not be blank"
    assert all(stop.strip() for stop in body.get("stop_sequences", ["x"])), "a stop must not be blank"
    assert len(body.get("metadata", {}).get("user_id", "")) <= 256
    _check_turns(body["messages"])
    _check_tools(body)
    _check_sampling(body)
    _check_thinking(body)
    if "format" in body.get("output_config", {}):
        _check_closed(body["output_config"]["format"]["schema"])


def _check_turns(turns: list[dict[str, Any]]) -> None:
    assert turns, "at least one message is required"
    assert [turn["role"] for turn in turns] == ["user", "assistant"] * (len(turns) // 2) + ["user"] * (len(turns) % 2)
    open_ids: list[str] = []
    used: set[str] = set()
    for turn in turns:
        content = turn["content"]
        assert content, "content must not be empty"
        results = [part["tool_use_id"] for part in content if part["type"] == "tool_result"]
        assert sorted(results) == sorted(open_ids), "tool results must answer exactly the calls of the turn before"
        assert all(part["type"] == "tool_result" for part in content[: len(results)]), "results come first"
        for part in content:
            _check_text(part)
        open_ids = [part["id"] for part in content if part["type"] == "tool_use"]
        assert len(set(open_ids)) == len(open_ids)
        assert not used & set(open_ids), "tool_use ids must be unique"
        assert all(_IDS.match(call_id) for call_id in open_ids)
        used |= set(open_ids)
    assert not open_ids, "tool_use without tool_result"
    last = turns[-1]["content"][-1]
    assert turns[-1]["role"] == "user" or last["text"] == last["text"].rstrip(), "trailing white space"


def _check_text(part: dict[str, Any]) -> None:
    if part["type"] == "text":
        assert part["text"].strip(), "text content blocks must contain non-whitespace text"
    if part["type"] == "tool_result":
        assert part.get("content", "x").strip()
    if part["type"] == "thinking":
        assert part["signature"].startswith("sig"), "Invalid `signature` in `thinking` block"


def _check_tools(body: dict[str, Any]) -> None:
    names = [tool["name"] for tool in body.get("tools", [])]
    assert len(set(names)) == len(names), "tool names must be unique"
    for tool in body.get("tools", []):
        assert tool["input_schema"]["type"] == "object"
        if tool.get("strict"):
            _check_closed(tool["input_schema"])
    called = [part for turn in body["messages"] for part in turn["content"] if part["type"] == "tool_use"]
    assert names or not called, "requests with tool_use blocks must define tools"
    choice = body.get("tool_choice")
    if choice is not None:
        assert names, "tool_choice needs tools"
        assert choice.get("name", names[0]) in names
        assert choice["type"] != "none" or set(choice) == {"type"}


def _check_sampling(body: dict[str, Any]) -> None:
    assert 0 <= body.get("temperature", 1) <= 1, "temperature: range: 0..1"
    assert 0 <= body.get("top_p", 1) <= 1
    assert not {"temperature", "top_p"} <= set(body), "temperature and top_p cannot both be specified"
    if body["model"] in _ADAPTIVE_ONLY:
        assert not {"temperature", "top_p", "top_k"} & set(body), "sampling parameters are deprecated for this model"
        assert body["messages"][-1]["role"] == "user", "this model does not support assistant message prefill"


def _check_thinking(body: dict[str, Any]) -> None:
    model, thinking = body["model"], body.get("thinking", {"type": None})
    forced = body.get("tool_choice", {}).get("type") in {"any", "tool"}
    kind = thinking["type"]
    assert not (forced and model in _UNFORCED), "tool_choice any and tool are not supported for this model"
    assert kind != "enabled" or model not in _ADAPTIVE_ONLY
    assert kind != "adaptive" or model not in _MANUAL_ONLY
    assert kind != "disabled" or model not in _UNFORCED
    assert model not in _MANUAL_ONLY or "effort" not in body.get("output_config", {}), "no effort on this model"
    thinks = kind in {"enabled", "adaptive"} or (kind is None and model in _THINKS_UNASKED)
    assert not (thinks and forced), "Thinking may not be enabled when tool_choice forces tool use"
    if kind in {"enabled", "adaptive"}:
        assert "temperature" not in body
        assert body.get("top_p", 1) >= 0.95
    if kind == "enabled":
        assert 1024 <= thinking["budget_tokens"] < body["max_tokens"]
        turns = body["messages"]
        if turns[-1]["content"][0]["type"] == "tool_result":
            assert turns[-2]["content"][0]["type"] in {"thinking", "redacted_thinking"}, "Expected `thinking`"


def _check_closed(schema: dict[str, Any]) -> None:
    for part in _parts(schema):
        assert not set(part) - _STRICT_KEYWORDS, f"not supported: {set(part) - _STRICT_KEYWORDS}"
        assert part.get("type") != "object" or part["additionalProperties"] is False


def _parts(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield schema
    for name in ("properties", "$defs", "definitions"):
        for inner in schema.get(name, {}).values():
            yield from _parts(inner)
    for name in ("anyOf", "allOf"):
        for inner in schema.get(name, []):
            yield from _parts(inner)
    if "items" in schema:
        yield from _parts(schema["items"])
