"""What clients of Responses send, read as a chat."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.requests.checked_body import CheckedBody
from shared.dialects.responses.items import LEFT_OUT
from shared.dialects.responses.request import ResponsesRequest
from shared.errors import InvalidRequest
from shared.models.parameters import NATIVE_ONLY

CALL: dict[str, Any] = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
SAID: dict[str, Any] = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]}
WHOLE: list[dict[str, Any]] = [
    SAID,
    CALL,
    {"type": "function_call_output", "call_id": "c", "output": "x"},
    {"type": "custom_tool_call", "call_id": "d", "name": "g", "input": "x"},
    {"type": "custom_tool_call_output", "call_id": "d", "output": "x"},
    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "t"}]},
]


def read(**fields: Any) -> ResponsesRequest:
    """Return a request that has these fields."""
    raw = json.dumps({"model": "m", "input": "x", **fields}).encode()
    CheckedBody.of_responses(raw)
    return ResponsesRequest(raw)


def chat_of(request: ResponsesRequest) -> Any:
    """Return the chat that it is."""
    return json.loads(request.chat)


@pytest.mark.parametrize("name", sorted(LEFT_OUT))
def test_what_clients_note_in_items_for_themselves_is_left_out(name: str) -> None:
    """Codex and OpenAI's own output have such fields; the chat is the same without."""
    noted = read(input=[{**item, name: {"turn_id": "t"}} for item in WHOLE])
    assert chat_of(noted) == chat_of(read(input=WHOLE))
    assert noted.fields["input"][0][name], "OpenAI itself gets them"


def test_what_codex_says_of_its_installation_is_no_field_that_a_model_may_refuse() -> None:
    """It sends it with every request."""
    request = read(client_metadata={"x-codex-installation-id": "i"})
    assert "client_metadata" not in chat_of(request)
    assert "client_metadata" in request.fields


@pytest.mark.parametrize(("is_async", "needs"), [(True, True), (False, False), (None, False)])
def test_tools_whose_results_come_later_are_openais_own(*, is_async: bool | None, needs: bool) -> None:
    """A call that says whether it was one is read at every tier."""
    tools = [{"type": "function", "name": "f", "async": is_async}, {"type": "custom", "name": "g", "async": is_async}]
    request = read(tools=tools)
    assert request.needs.get(NATIVE_ONLY) == ("tools[0].async" if needs else None)
    items = [item | {"async": is_async} if item["type"].endswith("_call") else item for item in WHOLE]
    assert chat_of(read(input=items)) == chat_of(read(input=WHOLE))


def test_a_choice_means_the_function_of_that_name_before_one_of_a_namespace() -> None:
    """Whichever stands first."""
    grouped = {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": name} for name in "fg"]}
    tools: list[dict[str, Any]] = [grouped, {"type": "function", "name": "f"}]
    for given in (tools, tools[::-1]):
        for name, chosen in (("f", "f"), ("g", "n__g")):
            choice = chat_of(read(tools=given, tool_choice={"type": "function", "name": name}))["tool_choice"]
            assert choice == {"type": "function", "function": {"name": chosen}}


RESULT: dict[str, Any] = {"type": "function_call_output", "call_id": "c", "output": "x"}
FUNCTION: dict[str, Any] = {"type": "function", "name": "f"}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": [RESULT]}, "input"),
        ({"input": [RESULT, CALL]}, "input"),
        ({"input": [{**CALL, "call_id": "d"}, RESULT]}, "input"),
        ({"input": [{"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "gA"}]}, "input"),
        ({"tool_choice": {"type": "function", "name": "f"}}, "tool_choice"),
        ({"tools": [FUNCTION], "tool_choice": {"type": "function", "name": "g"}}, "tool_choice"),
        ({"tools": [FUNCTION], "tool_choice": {"type": "allowed_tools", "mode": "auto",
                                               "tools": [FUNCTION, {"type": "custom", "name": "c"}]}}, "tool_choice"),
        ({"tools": [{"type": []}]}, "tools[0].type"),
        ({"tool_choice": {"type": ["function"]}}, "tool_choice"),
        ({"tool_choice": {"type": "allowed_tools", "mode": [], "tools": []}}, "tool_choice.mode"),
        ({"conversation": {}}, "conversation.id"),
        ({"conversation": {"id": "conv_1", "more": 1}}, "conversation.more"),
    ],
)  # fmt: skip
def test_what_openai_refuses_is_refused(fields: dict[str, Any], param: str) -> None:
    """Nothing of it is taken in silence, whoever serves."""
    with pytest.raises(InvalidRequest) as refused:
        read(**fields)
    assert refused.value.param == param


def test_what_may_be_where_only_openai_or_a_session_knows_is_left_to_them() -> None:
    """A result whose call a session has, or what only OpenAI can read; a tool that it finds by itself."""
    CheckedBody.of_responses(json.dumps({"model": "m", "input": [RESULT]}).encode(), has_session=True)
    assert read(input=[{"type": "compaction", "encrypted_content": "x"}, RESULT]).needs
    choice = {"type": "function", "name": "found"}
    assert read(tools=[{"type": "tool_search"}], tool_choice=choice).needs
    assert read(prompt={"id": "p"}, tool_choice=choice).needs


THOUGHTS: dict[str, Any] = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "a" * 100}]}


@pytest.mark.parametrize("item", [THOUGHTS, SAID])
def test_many_items_of_one_turn_are_one_message_with_all_of_them(item: dict[str, Any]) -> None:
    """In their order, whichever follow a call."""
    message = chat_of(read(input=[CALL, *([item] * 3)]))["messages"][0]
    assert message.get("reasoning_content") == (None if item is SAID else "\n".join(["a" * 100] * 3))
    assert message["content"] == ([{"type": "text", "text": "a"}] * 3 if item is SAID else None)
