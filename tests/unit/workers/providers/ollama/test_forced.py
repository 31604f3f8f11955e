"""Calls that must be made, at an API that has no parameter for it: asked for by a schema, and read as calls."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared import errors
from tests.upstreams.ollama.replies import last, line
from tests.upstreams.outcome import HELLO, Outcome, chat, outcome_of
from workers.providers.ollama.context import ContextRoom
from workers.providers.ollama.reply import ChatReader
from workers.providers.ollama.request import to_body

CITY = {"type": "object", "properties": {"city": {"$ref": "#/$defs/City"}}, "$defs": {"City": {"type": "string"}}}
WEATHER = {"name": "weather", "description": "The weather", "parameters": CITY}
TIME: dict[str, Any] = {"name": "time"}
TOOLS = [{"type": "function", "function": WEATHER}, {"type": "function", "function": TIME}]
NAMED = {"type": "function", "function": {"name": "weather"}}
LANGCHAIN = {"tools": TOOLS[:1], "tool_choice": NAMED, "parallel_tool_calls": False}
"""What LangChain's structured outputs ask for, by function calling."""
WAYS: list[dict[str, Any]] = [
    LANGCHAIN,
    {"tools": TOOLS, "tool_choice": NAMED},
    {"tools": TOOLS[:1], "tool_choice": "required"},
    {"functions": [WEATHER, TIME], "function_call": {"name": "weather"}},
]


def prepared(**asks: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the body that goes out, and the names of which the answer is a call."""
    ready = to_body(chat({**HELLO, **asks}), "m", ContextRoom(usual=4096, most=4096))
    return json.loads(ready.content), ready.forced


def answer(forced: tuple[str, ...], *messages: dict[str, Any], size: int | None = None, **end: Any) -> Outcome:
    """Return what becomes of an answer."""
    reader = ChatReader(None, forced)
    body = b"".join(map(line, messages)) + last(prompt_eval_count=7, eval_count=2, **end)
    events = [
        event for at in range(0, len(body), size or len(body)) for event in reader.feed(body[at:][: size or None])
    ]
    if reader.failure is not None:
        raise reader.failure
    return outcome_of(events)


@pytest.mark.parametrize("asks", WAYS)
def test_a_function_that_must_be_called_is_asked_for_by_its_schema(asks: dict[str, Any]) -> None:
    """It alone is told of, and its arguments are the answer; as they come."""
    body, forced = prepared(**asks)
    assert [tool["function"]["name"] for tool in body["tools"]] == ["weather"]
    assert body["format"] == CITY
    assert forced == ("weather",)
    found = answer(forced, {"thinking": "hm"}, {"content": '{"city":'}, {"content": '"Rome"}'}, size=3)
    assert (found.content, found.reasoning) == ("", "hm")
    assert (found.calls, found.finish) == ([("weather", '{"city":"Rome"}')], "tool_calls")


def test_one_of_several_functions_is_named_in_the_answer() -> None:
    """The definitions of all stand at the root of the schema, where their references point."""
    body, forced = prepared(tools=TOOLS, tool_choice="required")
    assert forced == ("weather", "time")
    assert len(body["tools"]) == 2
    assert body["format"]["$defs"] == CITY["$defs"]
    names = [choice["properties"]["name"]["enum"] for choice in body["format"]["anyOf"]]
    assert names == [["weather"], ["time"]]
    found = answer(forced, {"content": '{"name":"weather",'}, {"content": '"arguments":{"city":"Rome"}}'})
    assert (found.calls, found.finish) == ([("weather", '{"city":"Rome"}')], "tool_calls")


def test_a_server_that_calls_by_itself_is_taken_at_its_word() -> None:
    """Also where the answer was to be a call."""
    call = {"tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Rome"}}}]}
    for forced in (("weather",), ("weather", "time")):
        assert answer(forced, call).calls == [("weather", '{"city":"Rome"}')]


@pytest.mark.parametrize("said", ['{"name":"weath', "Hello", '{"name":"other","arguments":{}}', "[1]"])
def test_what_is_no_call_is_a_failure(said: str) -> None:
    """Before anything was said, so that the next candidate may."""
    with pytest.raises(errors.Malformed):
        answer(("weather", "time"), {"content": said})
    with pytest.raises(errors.StreamBroken):
        answer(("weather", "time"), {"thinking": "hm"}, {"content": said})


def test_arguments_that_were_cut_off_are_what_they_are() -> None:
    """As with any other call."""
    found = answer(("weather",), {"content": '{"city":'}, done_reason="length")
    assert (found.calls, found.finish) == ([("weather", '{"city":')], "length")


def test_what_cannot_be_asked_for_is_refused_by_name() -> None:
    """A function that is not there, and definitions that contradict each other."""
    with pytest.raises(errors.InvalidRequest) as wrong:
        prepared(tools=TOOLS, tool_choice={"type": "function", "function": {"name": "other"}})
    assert wrong.value.param == "tool_choice"
    other = {"name": "other", "parameters": {"type": "object", "$defs": {"City": {"type": "integer"}}}}
    with pytest.raises(errors.Unsupported):
        prepared(tools=[*TOOLS, {"type": "function", "function": other}], tool_choice="required")
