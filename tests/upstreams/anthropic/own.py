"""Recordings that are Anthropic's own: what its API has and others lack."""

from __future__ import annotations

from typing import Any

from shared.types import Usage
from tests.upstreams.anthropic import replies as anthropic
from tests.upstreams.anthropic.recordings import CLOSED, WEATHER, said
from tests.upstreams.outcome import HELLO, Outcome
from tests.upstreams.recordings import TOOL, Recording

OPEN = {"type": "object", "additionalProperties": {"type": "integer"}}
_OK = Outcome(content="ok", finish="stop", usage=Usage(7, 1))


def own(
    name: str, asks: dict[str, Any], reply: bytes, outcome: Outcome = _OK, sent: dict[str, Any] | None = None
) -> Recording:
    """Return a recording with Anthropic alone."""
    return Recording(name, asks, {"anthropic": reply}, outcome, {"anthropic": sent or {}})


def _reported(*messages: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [*HELLO["messages"], *messages]}


def _format(schema: dict[str, Any]) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}}


_NAMED = {"type": "function", "function": {"name": "weather"}}
_FUNCTION = TOOL["function"]
_TEXT = anthropic.text("ok")
_EMPTY_CALL = anthropic.start() + anthropic.call_block(0) + anthropic.end("tool_use")
_LONE_CALL = Outcome(calls=[("weather", "{}")], finish="tool_calls", usage=Usage(7, 1))
_DECLINED = {"type": "refusal", "category": "cyber", "explanation": "It could do harm."}
_COUNTS: dict[str, Any] = {"input_tokens": 3, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 100}

OWN = [
    own("a call without arguments", {"tools": [TOOL]}, _EMPTY_CALL, _LONE_CALL),
    own(
        "required choice",
        {"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False},
        _EMPTY_CALL,
        _LONE_CALL,
        {"tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
    ),
    own(
        "named choice",
        {"tools": [TOOL], "tool_choice": _NAMED},
        _EMPTY_CALL,
        _LONE_CALL,
        {"tool_choice": {"type": "tool", "name": "weather"}},
    ),
    own(
        "no choice",
        {"tools": [TOOL], "tool_choice": "none", "parallel_tool_calls": False},
        _TEXT,
        sent={"tool_choice": {"type": "none"}},
    ),
    own(
        "one call at a time",
        {"tools": [TOOL], "parallel_tool_calls": False},
        _EMPTY_CALL,
        _LONE_CALL,
        {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
    ),
    own(
        "legacy functions",
        {
            "functions": [_FUNCTION],
            "function_call": {"name": "weather"},
            **_reported(
                {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": "{}"}},
                {"role": "function", "name": "weather", "content": "sun"},
            ),
        },
        _EMPTY_CALL,
        _LONE_CALL,
        {
            "tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
            "messages": [
                said("user", "Hello"),
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "call_0", "name": "weather", "input": {}}],
                },
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_0", "content": "sun"}]},
            ],
        },
    ),
    own(
        "an image by address",
        _reported({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]}),
        _TEXT,
        sent={
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "Hello"},
                        {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
                    ],
                }
            ]
        },
    ),
    own(
        "stop, limit, temperature and user",
        {"stop": ["a", "b"], "max_completion_tokens": 5, "temperature": 1.7, "user": "u1", "top_k": 3},
        anthropic.text("cut", stop_reason="max_tokens"),
        Outcome(content="cut", finish="length", usage=Usage(7, 1)),
        {"stop_sequences": ["a", "b"], "max_tokens": 5, "temperature": 1.0, "metadata": {"user_id": "u1"}, "top_k": 3},
    ),
    own("a stop sequence", {"stop": "x"}, anthropic.text("ok", stop_reason="stop_sequence")),
    own(
        "a full context",
        {},
        anthropic.text("ok", stop_reason="model_context_window_exceeded"),
        Outcome(content="ok", finish="length", usage=Usage(7, 1)),
    ),
    own(
        "a paused turn",
        {},
        anthropic.text("ok", stop_reason="pause_turn"),
        Outcome(content="ok", finish="length", usage=Usage(7, 1)),
    ),
    own(
        "a refusal",
        {},
        anthropic.start() + anthropic.text_block(0, "Well") + anthropic.end("refusal", details=_DECLINED),
        Outcome(content="Well", refusal="It could do harm.", finish="content_filter", usage=Usage(7, 1)),
    ),
    own("a bare refusal", {}, anthropic.start() + anthropic.end("refusal"), Outcome(
        finish="content_filter", usage=Usage(7, 1))),
    own(
        "usage with cache and thinking, counted again at the end",
        {},
        anthropic.start(**_COUNTS)
        + anthropic.text_block(0, "ok")
        + anthropic.end(output_tokens=9, output_tokens_details={"thinking_tokens": 4}, **_COUNTS),
        Outcome(content="ok", finish="stop", usage=Usage(123, 9, 100, 4, cache_write_tokens=20)),
    ),
    own(
        "a schema of an open object",
        _format(OPEN),
        anthropic.start()
        + anthropic.call_block(0, '{"a"', ":1}", name="json_reply")
        + anthropic.end("tool_use", output_tokens=1),
        Outcome(content='{"a":1}', finish="stop", usage=Usage(7, 1)),
        {"tool_choice": {"type": "tool", "name": "json_reply", "disable_parallel_tool_use": True}},
    ),
    own(
        "an empty JSON object",
        {"response_format": {"type": "json_object"}},
        anthropic.start() + anthropic.call_block(0, name="json_reply") + anthropic.end("tool_use"),
        Outcome(content="{}", finish="stop", usage=Usage(7, 1)),
    ),
    own(
        "a schema and tools",
        {**_format(CLOSED), "tools": [TOOL]},
        _EMPTY_CALL,
        _LONE_CALL,
        {"output_config": {"format": {"type": "json_schema", "schema": CLOSED}}, "tool_choice": None},
    ),
    own(
        "JSON mode and tools",
        {"response_format": {"type": "json_object"}, "tools": [TOOL]},
        _EMPTY_CALL,
        _LONE_CALL,
        {"tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
    ),
    own(
        "a strict tool",
        {"tools": [{"type": "function", "function": {"name": "weather", "parameters": WEATHER, "strict": True}}]},
        _TEXT,
        sent={
            "tools": [
                {"name": "weather", "input_schema": {**WEATHER, "additionalProperties": False}, "strict": True,
                 "eager_input_streaming": True}
            ]
        },
    ),
    own(
        "calls of tools that are no longer offered",
        _reported(
            {"role": "assistant", "tool_calls": [{"id": "a:1", "type": "function", "function": {
                "name": "weather", "arguments": ""}}]},
            {"role": "tool", "tool_call_id": "a:1", "content": " "},
        ),
        _TEXT,
        sent={
            "tools": [{"name": "weather", "input_schema": {"type": "object"}}],
            "tool_choice": {"type": "none"},
            "messages": [
                said("user", "Hello"),
                {"role": "assistant", "content": [{"type": "tool_use", "id": "a_1", "name": "weather", "input": {}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a_1"}]},
            ],
        },
    ),
    own(
        "thinking that may not be read",
        {"reasoning_effort": "low"},
        anthropic.start()
        + anthropic.redacted_block(0, "secret")
        + anthropic.thinking_block(1)
        + anthropic.text_block(2, "ok")
        + anthropic.end(),
    ),
]  # fmt: skip
