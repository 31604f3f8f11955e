"""Recordings that every provider must get right: what the client asks, what each upstream replies, what comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from shared.types import Usage
from tests.upstreams.ollama import replies as ollama
from tests.upstreams.ollama.provider import NUM_CTX
from tests.upstreams.openai import replies as openai
from tests.upstreams.outcome import HELLO, Outcome

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"type": "function", "function": {"name": "weather", "description": "The weather", "parameters": WEATHER}}
SCHEMA = {"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"]}

SOURCE = {"url": "https://example.com/a", "title": "A page"}
CITATION = {"type": "url_citation", "url_citation": {"start_index": 10, "end_index": 16, **SOURCE}}


@dataclass
class Recording:
    """One recording.

    Args:
        name: of the test.
        asks: the client's fields besides `model` and `messages`, or with its own `messages`.
        replies: each wire's reply body; a wire that is left out cannot do this.
        outcome: what the events must add up to.
        sent: fields that each wire's request body must have, with their values.
    """

    name: str
    asks: dict[str, Any]
    replies: dict[str, bytes]
    outcome: Outcome
    sent: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        """Return the client's request."""
        return {**HELLO, **self.asks}


def _say(*pieces: str, finish: str = "stop") -> dict[str, bytes]:
    return {
        "openai": openai.text(*pieces, finish_reason=finish),
        "ollama": ollama.text(*pieces, done_reason=finish),
    }


def _messages(*messages: dict[str, Any]) -> dict[str, Any]:
    return {"messages": list(messages)}


def _openai_call(index: int, *pieces: str, name: str = "weather") -> bytes:
    first = {"index": index, "id": f"call_{index}", "type": "function", "function": {"name": name, "arguments": ""}}
    rest = [{"index": index, "function": {"arguments": piece}} for piece in pieces]
    return b"".join(openai.chunk({"tool_calls": [piece]}) for piece in (first, *rest))


def _ollama_call(city: str, **extra: str) -> dict[str, Any]:
    return {"tool_calls": [{**extra, "function": {"name": "weather", "arguments": {"city": city}}}]}


_USER = {"role": "user", "content": "Hello"}
_CALL = {"id": "call_a", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}}
_OTHER_CALL = {"id": "call_b", "type": "function", "function": {"name": "time", "arguments": ""}}
_OPTIONS = {"num_ctx": NUM_CTX}

RECORDINGS = [
    Recording(
        "plain",
        {},
        _say("Hel", "lo"),
        Outcome(content="Hello", finish="stop", usage=Usage(7, 2)),
        {
            "openai": {**HELLO, "model": "scripted", "stream": True, "stream_options": {"include_usage": True}},
            "ollama": {"model": "scripted", "messages": [_USER], "options": _OPTIONS},
        },
    ),
    Recording(
        "characters of several bytes",
        {},
        _say("Grü", "ße 🌍", "日本"),
        Outcome(content="Grüße 🌍日本", finish="stop", usage=Usage(7, 3)),
    ),
    Recording(
        "system and developer",
        _messages({"role": "system", "content": "A"}, {"role": "developer", "content": "B"}, _USER),
        _say("ok"),
        Outcome(content="ok", finish="stop", usage=Usage(7, 1)),
        {"ollama": {"messages": [{"role": "system", "content": "A"}, {"role": "system", "content": "B"}, _USER]}},
    ),
    Recording(
        "several turns",
        _messages(_USER, {"role": "assistant", "content": "Hi", "reasoning_content": "hm"}, _USER),
        _say("again"),
        Outcome(content="again", finish="stop", usage=Usage(7, 1)),
        {"ollama": {"messages": [_USER, {"role": "assistant", "content": "Hi", "thinking": "hm"}, _USER]}},
    ),
    Recording(
        "a tool call in pieces",
        {"tools": [TOOL], "tool_choice": "auto", "parallel_tool_calls": True},
        {
            "openai": _openai_call(0, '{"ci', 'ty":"Rome"}')
            + openai.chunk(finish_reason="tool_calls")
            + openai.chunk(usage=openai.usage(20, 9))
            + openai.DONE,
            "ollama": ollama.line(_ollama_call("Rome")) + ollama.last(prompt_eval_count=20, eval_count=9),
        },
        Outcome(calls=[("weather", '{"city":"Rome"}')], finish="tool_calls", usage=Usage(20, 9)),
        {"openai": {"tools": [TOOL]}, "ollama": {"tools": [TOOL]}},
    ),
    Recording(
        "text and several tool calls",
        {"tools": [TOOL]},
        {
            "openai": openai.chunk({"role": "assistant", "content": "I look."})
            + _openai_call(0, '{"city":"Rome"}')
            + _openai_call(1, '{"city":"Oslo"}')
            + openai.chunk(finish_reason="tool_calls")
            + openai.chunk(usage=openai.usage(20, 9))
            + openai.DONE,
            "ollama": ollama.line({"content": "I look."})
            + ollama.line(_ollama_call("Rome", id="call_0"))
            + ollama.line(_ollama_call("Oslo"))
            + ollama.last(prompt_eval_count=20, eval_count=9),
        },
        Outcome(
            content="I look.",
            calls=[("weather", '{"city":"Rome"}'), ("weather", '{"city":"Oslo"}')],
            finish="tool_calls",
            usage=Usage(20, 9),
        ),
    ),
    Recording(
        "tool results back",
        {
            "tools": [TOOL],
            **_messages(
                _USER,
                {"role": "assistant", "tool_calls": [_CALL, _OTHER_CALL]},
                {"role": "tool", "tool_call_id": "call_b", "content": "noon"},
                {"role": "tool", "tool_call_id": "call_a", "content": [{"type": "text", "text": "sun"}]},
            ),
        },
        _say("Sunny"),
        Outcome(content="Sunny", finish="stop", usage=Usage(7, 1)),
        {
            "ollama": {
                "messages": [
                    _USER,
                    {
                        "role": "assistant",
                        "content": "",
                        "tool_calls": [
                            {"id": "call_a", "function": {"name": "weather", "arguments": {"city": "Rome"}}},
                            {"id": "call_b", "function": {"name": "time", "arguments": {}}},
                        ],
                    },
                    {"role": "tool", "content": "noon", "tool_name": "time", "tool_call_id": "call_b"},
                    {"role": "tool", "content": "sun", "tool_name": "weather", "tool_call_id": "call_a"},
                ]
            }
        },
    ),
    Recording(
        "functions, as they were before tools",
        {
            "functions": [TOOL["function"]],
            "function_call": "auto",
            **_messages(
                _USER,
                {"role": "assistant", "content": None, "function_call": _CALL["function"]},
                {"role": "function", "name": "weather", "content": "sun"},
            ),
        },
        {
            "openai": _openai_call(0, '{"city":"Oslo"}')
            + openai.chunk(finish_reason="tool_calls")
            + openai.chunk(usage=openai.usage(20, 9))
            + openai.DONE,
            "ollama": ollama.line(_ollama_call("Oslo")) + ollama.last(prompt_eval_count=20, eval_count=9),
        },
        Outcome(calls=[("weather", '{"city":"Oslo"}')], finish="tool_calls", usage=Usage(20, 9)),
        {
            "openai": {
                "tools": [TOOL],
                "tool_choice": "auto",
                "functions": None,
                "function_call": None,
                "messages": [
                    _USER,
                    {
                        "role": "assistant",
                        "content": None,
                        "tool_calls": [{"id": "call_1", "type": "function", "function": _CALL["function"]}],
                    },
                    {"role": "tool", "tool_call_id": "call_1", "content": "sun"},
                ],
            },
            "ollama": {
                "tools": [TOOL],
                "messages": [
                    _USER,
                    {
                        "role": "assistant",
                        "content": "",
                        "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Rome"}}}],
                    },
                    {"role": "tool", "content": "sun", "tool_name": "weather"},
                ],
            },
        },
    ),
    Recording(
        "an image",
        _messages(
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "low"}},
                ],
            }
        ),
        _say("A pixel"),
        Outcome(content="A pixel", finish="stop", usage=Usage(7, 1)),
        {"ollama": {"messages": [{"role": "user", "content": "What is it?", "images": [PIXEL]}]}},
    ),
    Recording(
        "JSON mode",
        {"response_format": {"type": "json_object"}},
        _say('{"a":', "1}"),
        Outcome(content='{"a":1}', finish="stop", usage=Usage(7, 2)),
        {"openai": {"response_format": {"type": "json_object"}}, "ollama": {"format": "json"}},
    ),
    Recording(
        "a JSON schema",
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}}},
        _say('{"answer":42}'),
        Outcome(content='{"answer":42}', finish="stop", usage=Usage(7, 1)),
        {"ollama": {"format": SCHEMA}},
    ),
    Recording(
        "sampling",
        {"temperature": 0.5, "top_p": 0.9, "seed": 7, "stop": "END", "max_tokens": 9, "max_completion_tokens": 5,
         "frequency_penalty": 0.1, "presence_penalty": -0.1, "top_k": 40},
        _say("cut", finish="length"),
        Outcome(content="cut", finish="length", usage=Usage(7, 1)),
        {
            "openai": {"temperature": 0.5, "stop": "END", "max_tokens": 5, "max_completion_tokens": 5, "top_k": 40},
            "ollama": {
                "options": {
                    "temperature": 0.5, "top_p": 0.9, "seed": 7, "stop": ["END"], "num_predict": 5,
                    "frequency_penalty": 0.1, "presence_penalty": -0.1, "top_k": 40, "num_ctx": NUM_CTX,
                }
            },
        },
    ),
    Recording(
        "reasoning",
        {"reasoning_effort": "high"},
        {
            "openai": openai.event({"choices": [{"index": 0, "delta": {"reasoning_content": "Let me"}}]})
            + openai.event({"choices": [{"index": 0, "delta": {"reasoning": " think"}}]})
            + openai.chunk({"content": "42"})
            + openai.chunk(finish_reason="stop")
            + openai.chunk(usage=openai.usage(9, 5, cached=4))
            + openai.DONE,
            "ollama": ollama.line({"thinking": "Let me"})
            + ollama.line({"thinking": " think"})
            + ollama.line({"content": "42"})
            + ollama.last(prompt_eval_count=9, eval_count=5, prompt_eval_cached_count=4),
        },
        Outcome(content="42", reasoning="Let me think", finish="stop", usage=Usage(9, 5, cached_tokens=4)),
        {"openai": {"reasoning_effort": "high"}, "ollama": {"think": "high"}},
    ),
    Recording(
        "log probabilities",
        {"logprobs": True, "top_logprobs": 1},
        {
            "openai": openai.chunk(
                {"content": "Hi"},
                logprobs={"content": [{"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": []}]},
            )
            + openai.chunk(finish_reason="stop")
            + openai.chunk(usage=openai.usage(7, 1))
            + openai.DONE,
            "ollama": ollama.line(
                {"content": "Hi"},
                logprobs=[{"token": "Hi", "logprob": -0.1, "top_logprobs": [{"token": "Yo", "logprob": -3.0}]}],
            )
            + ollama.last(prompt_eval_count=7, eval_count=1),
        },
        Outcome(content="Hi", finish="stop", usage=Usage(7, 1), logprobs=["Hi"]),
        {"ollama": {"logprobs": True, "top_logprobs": 1}},
    ),
    Recording(
        "an answer with sources",
        {},
        {
            "openai": openai.chunk({"content": "It rains. "})
            + openai.chunk({"content": "Grüße!"})
            + openai.event({"choices": [{"index": 0, "delta": {"annotations": [CITATION]}}]})
            + openai.chunk(finish_reason="stop")
            + openai.chunk(usage=openai.usage(7, 2))
            + openai.DONE,
        },
        Outcome(content="It rains. Grüße!", finish="stop", usage=Usage(7, 2), annotations=[CITATION]),
    ),
    Recording(
        "nothing said",
        {},
        {
            "openai": openai.chunk({"role": "assistant", "content": ""})
            + openai.chunk({"content": ""})
            + openai.chunk(finish_reason="stop")
            + openai.chunk(usage=openai.usage(7, 0))
            + openai.DONE,
            "ollama": ollama.line({"content": ""}) + ollama.last(prompt_eval_count=7),
        },
        Outcome(finish="stop", usage=Usage(7, 0)),
    ),
]  # fmt: skip

for _folder in sorted(path.parent.name for path in Path(__file__).parent.glob("*/recordings.py")):
    _teach = import_module(f"tests.upstreams.{_folder}.recordings").teach
    for _recording in RECORDINGS:
        _teach(_recording)
