"""Conversations as clients keep them, which are not always as they should be: every provider serves them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.upstreams.outcome import WIRES, chat, complete, outcome_of, serving
from tests.upstreams.recordings import PIXEL, RECORDINGS, TOOL
from tests.upstreams.scripted import json_answer, ndjson, sse
from workers.providers.openai.request import to_body

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
HISTORIES: dict[str, list[dict[str, Any]]] = {
    "one id twice in a turn": [USER, _called(_call(), _call("time")), _result("sun"), _result("noon"), USER],
    "one id in two turns": [USER, _called(_call()), _result("sun"), _called(_call("time")), _result("noon")],
    "the assistant speaks first": [{"role": "assistant", "content": "Welcome."}, USER],
    "the assistant speaks last": [USER, {"role": "assistant", "content": "Well,"}],
    "a call whose type is null": [USER, _called(_call(type=None)), _result("sun")],
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
    "no id at all": [
        USER,
        _called(_call(call_id="")),
        {**_result("sun"), "tool_call_id": ""},
    ],
    "a long id": [
        USER,
        _called(_call(call_id="ws_" + "7" * 48)),
        {**_result("sun"), "tool_call_id": "ws_" + "7" * 48},
    ],
    "one id in every turn": [
        USER,
        *[message for text in "abc" for message in (_called(_call()), _result(text))],
        _called(_call(), _call("time"), _call("weather")),
        _result("d"),
        _result("e"),
        _result("f"),
        USER,
    ],
    "no arguments": [USER, _called(_call(arguments="")), _result("sun")],
    "arguments are null": [USER, _called(_call(arguments="null")), _result("sun")],
    "as an SDK writes an answer down": [
        USER,
        {
            "role": "assistant",
            "content": None,
            "refusal": None,
            "annotations": [],
            "audio": None,
            "function_call": None,
            "reasoning_content": "hm",
            "tool_calls": [_call(type="function")],
        },
        {**_result("sun"), "name": "weather"},
        {
            "role": "assistant",
            "content": "Sun.",
            "refusal": None,
            "annotations": [],
            "audio": None,
            "function_call": None,
            "tool_calls": None,
        },
        USER,
    ],
    "an empty result": [USER, _called(_call()), _result("")],
    "results in another order": [
        USER,
        _called(_call(call_id="a"), _call("time", call_id="b")),
        {**_result("noon"), "tool_call_id": "b"},
        {**_result("sun"), "tool_call_id": "a"},
        USER,
    ],
    "text and a call": [USER, {**_called(_call()), "content": "I look."}, _result("sun"), USER],
    "an empty text and a call": [USER, {**_called(_call()), "content": ""}, _result("sun"), USER],
    "no calls at all in a list": [USER, {"role": "assistant", "content": "a", "tool_calls": []}, USER],
    "an answer of white space": [USER, {"role": "assistant", "content": " \n"}, USER],
    "an empty answer": [USER, {"role": "assistant", "content": ""}, USER],
    "an image in the last result": [USER, _called(_call()), {**_result(""), "content": [IMAGE]}],
    "only thoughts": [USER, {"role": "assistant", "reasoning_content": "hm"}, USER],
    "only thoughts, as vLLM names them": [USER, {"role": "assistant", "content": None, "reasoning": "hm"}, USER],
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


def ids_of(messages: list[dict[str, Any]]) -> tuple[list[list[str]], list[str]]:
    """Return the ids of each turn's calls, and those of the results."""
    calls = [[call["id"] for call in message["tool_calls"]] for message in messages if message.get("tool_calls")]
    return calls, [message["tool_call_id"] for message in messages if message["role"] == "tool"]


async def sent_to_openai(history: list[dict[str, Any]], *answers: Any) -> list[list[dict[str, Any]]]:
    """Return the messages that an OpenAI-compatible server gets for a conversation, each time."""
    async with serving("openai") as (upstream, provider):
        upstream.add(*answers, sse(PLAIN.replies["openai"]))
        await complete(provider, {"model": "m", "tools": [TOOL], "messages": history})
        return [request.body["messages"] for request in upstream.requests]


async def test_ids_are_the_same_each_time_and_those_that_are_sound_stay() -> None:
    """So that a server's cache of the conversation is of use; every result keeps to its call."""
    history = HISTORIES["one id in every turn"]
    (first,), (again,) = [await sent_to_openai(history) for _ in range(2)]
    assert first == again
    calls, results = ids_of(first)
    assert calls[0] == [ID]
    assert [call_id for turn in calls for call_id in turn] == results
    (sound,) = await sent_to_openai(HISTORIES["results in another order"])
    assert ids_of(sound) == ([["a", "b"]], ["b", "a"])


async def test_a_server_that_wants_short_ids_gets_them() -> None:
    """Mistral says what it wants in words; it is asked again once, and every id is nine letters and digits."""
    refusal = {"object": "error", "message": f"Tool call id was {ID} but must be a-z, A-Z, 0-9, with a length of 9."}
    first, second = await sent_to_openai(HISTORIES["one id in every turn"], json_answer(refusal, 400))
    assert ids_of(first)[0][0] == [ID]
    calls, results = ids_of(second)
    assert [call_id for turn in calls for call_id in turn] == results
    assert all(re.fullmatch("[a-zA-Z0-9]{9}", call_id) for call_id in results)


async def test_openai_itself_gets_arguments_as_the_model_wrote_them() -> None:
    """It takes any text; others decode it, and fail."""
    request = chat({"model": "m", "tools": [TOOL], "messages": HISTORIES["arguments were cut off"]})
    calls = [
        json.loads(to_body(request, "m", is_openai=is_openai))["messages"][1]["tool_calls"][0]["function"]["arguments"]
        for is_openai in (True, False)
    ]
    assert calls == ['{"city": "Ro', '{"unreadable_arguments":"{\\"city\\": \\"Ro"}']
