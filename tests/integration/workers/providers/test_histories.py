"""Conversations as clients keep them, which are not always as they should be: every provider serves them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.upstreams.outcome import WIRES, complete, outcome_of, serving
from tests.upstreams.recordings import PIXEL, RECORDINGS, TOOL
from tests.upstreams.scripted import ndjson, sse

PLAIN = RECORDINGS[0]
USER = {"role": "user", "content": "Hello"}
ID = "functions.read_file:0"


def _call(name: str = "weather", arguments: str = "{}", call_id: str = ID, **fields: Any) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}, **fields}


def _called(*calls: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(calls)}


def _result(text: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": ID, "content": text}


IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
BARE = {name: value for name, value in _call().items() if name != "type"}
HISTORIES = {
    "one id twice in a turn": [USER, _called(_call(), _call("time")), _result("sun"), _result("noon"), USER],
    "one id in two turns": [USER, _called(_call()), _result("sun"), _called(_call("time")), _result("noon")],
    "a call comes first": [_called(_call()), _result("sun"), USER],
    "arguments were cut off": [USER, _called(_call(arguments='{"city": "Ro')), _result("no JSON"), USER],
    "arguments are a list": [USER, _called(_call(arguments="[1]")), _result("no object"), USER],
    "a call without type": [USER, _called(BARE), _result("sun")],
    "images in tools' results": [
        USER,
        _called(_call(), _call("time", call_id="b")),
        {**_result(""), "content": [{"type": "text", "text": "a map"}, IMAGE]},
        {"role": "tool", "tool_call_id": "b", "content": [IMAGE]},
        USER,
    ],
    "an image in the last result": [USER, _called(_call()), {**_result(""), "content": [IMAGE]}],
    "only thoughts": [USER, {"role": "assistant", "reasoning_content": "hm"}, USER],
}


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("history", HISTORIES.values(), ids=list(HISTORIES))
async def test_a_history_is_served_by_every_provider(wire: str, history: list[dict[str, Any]]) -> None:
    """What goes out is what the upstream takes: it refuses all else."""
    async with serving(wire) as (upstream, provider):
        upstream.add((ndjson if wire == "ollama" else sse)(PLAIN.replies[wire]))
        events = await complete(provider, {"model": "m", "tools": [TOOL], "messages": history})
        sent = upstream.requests[0].raw.decode()
    assert outcome_of(events) == PLAIN.outcome
    assert sent.count(PIXEL) == str(history).count(PIXEL)


async def test_results_of_calls_with_one_id_belong_to_the_calls_in_their_order() -> None:
    """Ollama knows a result by its tool's name."""
    async with serving("ollama") as (upstream, provider):
        upstream.add(ndjson(PLAIN.replies["ollama"]))
        await complete(provider, {"model": "m", "tools": [TOOL], "messages": HISTORIES["one id twice in a turn"]})
        sent = upstream.requests[0].body["messages"]
    assert [(one["tool_name"], one["content"]) for one in sent if one["role"] == "tool"] == [
        ("weather", "sun"),
        ("time", "noon"),
    ]


async def test_the_model_sees_the_arguments_that_it_wrote() -> None:
    """Also where they are no object."""
    async with serving("anthropic") as (upstream, provider):
        upstream.add(sse(PLAIN.replies["anthropic"]))
        await complete(provider, {"model": "m", "tools": [TOOL], "messages": HISTORIES["arguments were cut off"]})
        call = upstream.requests[0].body["messages"][1]["content"][0]
    assert call["input"] == {"unreadable_arguments": '{"city": "Ro'}
