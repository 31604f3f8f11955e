"""How OpenAI answers the recordings that every provider must get right over its Responses API, and what it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.upstreams.openai import responses as openai

if TYPE_CHECKING:
    from tests.upstreams.recordings import Recording

WIRE = "openai-responses"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {
    "type": "function", "name": "weather", "description": "The weather", "parameters": WEATHER, "strict": False,
}  # fmt: skip
SCHEMA = {"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"]}
_HELLO = {"role": "user", "content": "Hello"}
_CALL = {"type": "function_call", "call_id": "call_a", "name": "weather", "arguments": '{"city":"Rome"}'}
_OTHER_CALL = {"type": "function_call", "call_id": "call_b", "name": "time", "arguments": ""}
_RESULTS: list[dict[str, Any]] = [
    _HELLO,
    _CALL,
    _OTHER_CALL,
    {"type": "function_call_output", "call_id": "call_b", "output": "noon"},
    {"type": "function_call_output", "call_id": "call_a", "output": [{"type": "input_text", "text": "sun"}]},
]
_CITED = {
    "type": "url_citation", "start_index": 10, "end_index": 16, "url": "https://example.com/a", "title": "A page",
}  # fmt: skip
_LOGPROB = {"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": []}


def _input(*items: dict[str, Any]) -> dict[str, Any]:
    return {"input": list(items)}


ANSWERS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "plain": (
        openai.text("Hel", "lo"),
        {**_input(_HELLO), "model": "scripted", "stream": True, "store": False, "include": None, "messages": None},
    ),
    "characters of several bytes": (openai.text("Grü", "ße 🌍", "日本"), {}),
    "system and developer": (
        openai.text("ok"),
        _input({"role": "system", "content": "A"}, {"role": "developer", "content": "B"}, _HELLO),
    ),
    "several turns": (openai.text("again"), _input(_HELLO, {"role": "assistant", "content": "Hi"}, _HELLO)),
    "a tool call in pieces": (
        openai.stream(openai.call('{"ci', 'ty":"Rome"}'), usage=openai.usage(20, 9)),
        {
            "tools": [TOOL],
            "tool_choice": "auto",
            "parallel_tool_calls": True,
            "include": ["reasoning.encrypted_content"],
        },
    ),
    "text and several tool calls": (
        openai.stream(
            openai.message("I look."),
            openai.call('{"city":"Rome"}'),
            openai.call('{"city":"Oslo"}', call_id="call_1"),
            usage=openai.usage(20, 9),
        ),
        {},
    ),
    "tool results back": (openai.text("Sunny"), _input(*_RESULTS)),
    "functions, as they were before tools": (
        openai.stream(openai.call('{"city":"Oslo"}'), usage=openai.usage(20, 9)),
        {
            "tools": [TOOL],
            "tool_choice": "auto",
            **_input(
                _HELLO,
                {**_CALL, "call_id": "call_1"},
                {"type": "function_call_output", "call_id": "call_1", "output": "sun"},
            ),
        },
    ),
    "an image": (
        openai.text("A pixel"),
        _input({
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is it?"},
                {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "low"},
            ],
        }),
    ),
    "JSON mode": (openai.text('{"a":', "1}"), {"text": {"format": {"type": "json_object"}}}),
    "a JSON schema": (
        openai.text('{"answer":42}'),
        {"text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}}},
    ),
    "reasoning": (
        openai.stream(
            openai.reasoning("Let me", " think"), openai.message("42"), usage=openai.usage(9, 5, cached=4)
        ),
        {"reasoning": {"effort": "high"}, "reasoning_effort": None},
    ),
    "log probabilities": (
        openai.stream(openai.message("Hi", logprobs=[_LOGPROB]), usage=openai.usage(7, 1)),
        {"include": ["message.output_text.logprobs"], "top_logprobs": 1, "logprobs": None},
    ),
    "an answer with sources": (
        openai.stream(openai.message("It rains. ", "Grüße!", annotations=[_CITED]), usage=openai.usage(7, 2)),
        {},
    ),
    "nothing said": (openai.stream(openai.message(""), usage=openai.usage(7, 0)), {}),
}  # fmt: skip
"""Each recording's reply, and the fields that the request must have. `stop`, as of "sampling", there is none."""


def teach(recording: Recording) -> None:
    """Give a recording its side."""
    if recording.name in ANSWERS:
        recording.replies[WIRE], recording.sent[WIRE] = ANSWERS[recording.name]
