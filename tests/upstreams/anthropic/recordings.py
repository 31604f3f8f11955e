"""How Anthropic's API answers the recordings that every provider must get right, and what it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.upstreams.anthropic import replies as anthropic

if TYPE_CHECKING:
    from tests.upstreams.recordings import Recording

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"name": "weather", "description": "The weather", "input_schema": WEATHER, "eager_input_streaming": True}
CLOSED = {
    "type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"],
    "additionalProperties": False,
}  # fmt: skip


def said(role: str, *texts: str) -> dict[str, Any]:
    """Return a turn of text."""
    return {"role": role, "content": [{"type": "text", "text": text} for text in texts]}


_HELLO = said("user", "Hello")
_LOOK = anthropic.start(input_tokens=20) + anthropic.text_block(0, "I look.")
_BOTH = anthropic.call_block(1, '{"city":"Rome"}') + anthropic.call_block(2, '{"city":"Oslo"}')
_RESULTS = [
    _HELLO,
    {
        "role": "assistant",
        "content": [
            {"type": "tool_use", "id": "call_a", "name": "weather", "input": {"city": "Rome"}},
            {"type": "tool_use", "id": "call_b", "name": "time", "input": {}},
        ],
    },
    {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "call_b", "content": "noon"},
            {"type": "tool_result", "tool_use_id": "call_a", "content": "sun"},
        ],
    },
]
_IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
_JSON_CHOICE = {"type": "tool", "name": "json_reply", "disable_parallel_tool_use": True}

_PAGE = {
    "type": "web_search_result_location", "url": "https://example.com/a", "title": "A page", "cited_text": "rain",
    "encrypted_index": "x",
}  # fmt: skip
_DOCUMENT = {
    "type": "char_location", "cited_text": "rain", "document_index": 0, "document_title": "d", "start_char_index": 0,
    "end_char_index": 4, "file_id": None,
}  # fmt: skip
ANSWERS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "plain": (
        anthropic.text("Hel", "lo"),
        {"model": "scripted", "max_tokens": 32_000, "messages": [_HELLO], "stream": True, "system": None},
    ),
    "characters of several bytes": (anthropic.text("Grü", "ße 🌍", "日本"), {}),
    "system and developer": (anthropic.text("ok"), {"system": "A\nB", "messages": [_HELLO]}),
    "several turns": (anthropic.text("again"), {"messages": [_HELLO, said("assistant", "Hi"), _HELLO]}),
    "a tool call in pieces": (
        anthropic.start(input_tokens=20)
        + anthropic.call_block(0, '{"ci', 'ty":"Rome"}')
        + anthropic.end("tool_use", output_tokens=9),
        {"tools": [TOOL], "tool_choice": {"type": "auto"}},
    ),
    "text and several tool calls": (
        _LOOK + _BOTH + anthropic.end("tool_use", output_tokens=9),
        {"tools": [TOOL], "tool_choice": None},
    ),
    "tool results back": (anthropic.text("Sunny"), {"messages": _RESULTS}),
    "functions, as they were before tools": (
        anthropic.start(input_tokens=20)
        + anthropic.call_block(0, '{"city":"Oslo"}')
        + anthropic.end("tool_use", output_tokens=9),
        {
            "tools": [TOOL],
            "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
            "messages": [
                _HELLO,
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "call_0", "name": "weather", "input": {"city": "Rome"}}],
                },
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_0", "content": "sun"}]},
            ],
        },
    ),
    "an image": (
        anthropic.text("A pixel"),
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, _IMAGE]}]},
    ),
    "JSON mode": (
        anthropic.start()
        + anthropic.call_block(0, '{"a":', "1}", name="json_reply")
        + anthropic.end("tool_use", output_tokens=2),
        {"tool_choice": _JSON_CHOICE},
    ),
    "a JSON schema": (
        anthropic.text('{"answer":42}'),
        {"output_config": {"format": {"type": "json_schema", "schema": CLOSED}}, "tools": None},
    ),
    "reasoning": (
        anthropic.start(input_tokens=5, cache_read_input_tokens=4)
        + anthropic.thinking_block(0, "Let me", " think")
        + anthropic.text_block(1, "42")
        + anthropic.end(output_tokens=5),
        {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "high"}},
    ),
    "an answer with sources": (
        anthropic.start()
        + anthropic.text_block(0, "It rains. ")
        + anthropic.block(
            1,
            {"type": "text", "text": "", "citations": []},
            {"type": "text_delta", "text": "Grüße!"},
            *({"type": "citations_delta", "citation": citation} for citation in (_PAGE, _DOCUMENT)),
        )
        + anthropic.end(output_tokens=2),
        {},
    ),
    "nothing said": (anthropic.start() + anthropic.end(output_tokens=0), {}),
}
"""By the recording's name: the reply, and fields of the request. What is missing there is refused: seeds, logprobs."""


def teach(recording: Recording) -> None:
    """Add Anthropic's side to a recording."""
    if recording.name in ANSWERS:
        recording.replies["anthropic"], recording.sent["anthropic"] = ANSWERS[recording.name]
