"""Errors about a request name the client's own parameters."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dialects.responses.names import name_fields
from shared.dialects.responses.request import ResponsesRequest
from shared.dialects.responses.tools import CalledTool
from shared.errors import InvalidRequest
from shared.models.abilities import cannot_do

REQUEST: dict[str, Any] = {
    "model": "m",
    "instructions": "Help.",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "x"}, {"type": "input_image", "image_url": "u"}]},
        {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "b", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "b", "output": [{"type": "input_image", "image_url": "u"}]},
        {"type": "function_call_output", "call_id": "a", "output": "ok"},
    ],
    "tools": [
        {"type": "namespace", "name": "n", "description": "d", "tools": [{"type": "function", "name": "g"}]},
        {"type": "function", "name": "f"},
    ],
}


@pytest.mark.parametrize(
    ("param", "named"),
    [
        ("messages[0].content", "instructions"),
        ("messages[1].content[1].image_url.url", "input[0].content[1].image_url"),
        ("messages[2].tool_calls[1].function.arguments", "input[3].arguments"),
        ("messages[2].tool_calls", "input[1].tool_calls"),
        ("messages[3].tool_call_id", "input[4].call_id"),
        ("messages[4].content", "input[5].output"),
        ("messages[5].content[0].image_url.url", "input[4].output[0].image_url"),
        ("tools[0].function.name", "tools[0].tools[0].name"),
        ("tools[1].function.parameters", "tools[1].parameters"),
        ("response_format.json_schema.schema", "text.format.schema"),
        ("temperature", "temperature"),
    ],
)
def test_a_place_of_the_chat_has_the_clients_name(param: str, named: str) -> None:
    """In the parameter and in the message."""
    error = InvalidRequest(f"It is '{param}'.", param=param)
    ResponsesRequest(json.dumps(REQUEST).encode()).name_params(error)
    assert (error.param, error.message) == (named, f"It is '{named}'.")


@pytest.mark.parametrize(
    ("param", "named"),
    [
        ("reasoning_effort", "reasoning.effort"),
        ("response_format", "text.format"),
        ("max_completion_tokens", "max_output_tokens"),
        ("verbosity", "text.verbosity"),
        ("messages", "input"),
    ],
)
def test_a_field_is_named_once(param: str, named: str) -> None:
    """However often it is asked for."""
    error = cannot_do(param, "m")
    for _ in range(2):
        name_fields(error)
    assert error.param == named
    assert f"'{named}'" in error.message


def test_a_refused_tool_is_explained() -> None:
    """Nothing else in the error tells a user of Codex what to do."""
    error = cannot_do("tools[8].type", "m")
    name_fields(error)
    assert error.message.endswith("leave it out.")


NAMES = st.text("a_", min_size=1, max_size=5) | st.text("ab", min_size=30, max_size=64)


@given(
    plain=st.lists(NAMES, max_size=3, unique=True),
    spaces=st.dictionaries(NAMES, st.lists(NAMES, min_size=1, max_size=3, unique=True), max_size=3),
    custom=st.booleans(),
)
def test_each_tool_has_a_function_of_its_own(plain: list[str], spaces: dict[str, list[str]], *, custom: bool) -> None:
    """Of a name that models take, whatever the namespaces are called; calls are turned there and back."""
    kind = {"type": "custom"} if custom else {"type": "function", "parameters": {"type": "object"}}
    tools: list[dict[str, Any]] = [{**kind, "name": name} for name in plain]
    tools += [
        {"type": "namespace", "name": space, "description": "d", "tools": [{**kind, "name": name} for name in names]}
        for space, names in spaces.items()
    ]
    called = [(space, name) for space, names in spaces.items() for name in names] + [(None, name) for name in plain]
    item = {"type": "function_call", "arguments": "{}"}
    calls = [
        {**item, "call_id": f"c{number}", "name": name, **({"namespace": space} if space else {})}
        for number, (space, name) in enumerate(called)
    ]
    for order in (tools, tools[::-1]):
        request = ResponsesRequest(
            json.dumps({"model": "m", "input": [{"role": "user", "content": "x"}, *calls], "tools": order}).encode()
        )
        chat = json.loads(request.chat)
        names = [tool["function"]["name"] for tool in chat.get("tools", ())]
        assert len(set(names)) == len(names) == len(called)
        assert all(len(name) <= 64 for name in names)
        sent = [call["function"]["name"] for call in chat["messages"][-1].get("tool_calls", ())]
        assert sorted(sent) == sorted(names)
        for (space, name), function in zip(called, sent, strict=True):
            tool = request.tools.called.get(function) or CalledTool(function)
            assert (tool.namespace, tool.name, tool.is_custom) == (space, name, custom)
