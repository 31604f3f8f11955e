"""Calls of a client's own tools in OpenAI's answers, as a session keeps them, and on their way back to OpenAI."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec
import pytest

from shared.dialects.table import DIALECTS
from shared.openai.reply import CompletionFold
from shared.openai.request import ChatRequest
from shared.openai.sessions.history import History, HistoryTurn
from tests.upstreams.openai import responses as replies
from tests.upstreams.openai.strict_responses import check
from workers.providers.openai.responses.native import NativeReader, native_request, to_native_body

FUNCTION: Final = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "strict": True}
TOOLS: Final = [{"type": "custom", "name": "shell"}, {"type": "namespace", "name": "ns", "tools": [FUNCTION]}, FUNCTION]
RESULT: Final = {"type": "custom_tool_call_output", "call_id": "call_0", "output": "a file"}
INTO_NAMESPACE: Final = replies.call("{}", name="f", call_id="call_1")
INTO_NAMESPACE.done["namespace"] = "ns"
ANSWER: Final = (replies.custom_call("ls", " -l"), INTO_NAMESPACE, replies.call("{}", name="f", call_id="call_2"))


def asked(fields: dict[str, Any], **more: Any) -> ChatRequest:
    """Return a request of the Responses API."""
    return ChatRequest(json.dumps({"model": "m", **fields}).encode(), read=DIALECTS["responses"].read, **more)


def kept(stream: bytes, **fields: Any) -> dict[str, Any]:
    """Return the message that a session keeps of an answer."""
    client = native_request(asked({"input": "x", **fields}))
    assert client is not None
    reader, fold = NativeReader(("shell", "ns__f", "f"), client.tools), CompletionFold()
    for event in (*reader.feed(stream), *reader.end()):
        fold.add(event)
    assert reader.failure is None
    return {name: value for name, value in fold.choice(0)["message"].items() if value is not None}


@pytest.mark.parametrize("is_whole", [False, True])
def test_a_session_keeps_them_as_functions_of_the_chat(*, is_whole: bool) -> None:
    """As it keeps those of translated answers, so that other models and the client's own copies match them."""
    answer = replies.whole(*ANSWER, usage=replies.usage(7, 2))
    if not is_whole:
        answer = replies.stream(*ANSWER, usage=replies.usage(7, 2))
    message = kept(answer, tools=TOOLS)
    assert [(call["id"], *call["function"].values()) for call in message["tool_calls"]] == [
        ("call_0", "shell", '{"input":"ls -l"}'), ("call_1", "ns__f", "{}"), ("call_2", "f", "{}"),
    ]  # fmt: skip


def continued(own: list[dict[str, Any]], results: list[dict[str, Any]], **fields: Any) -> list[dict[str, Any]]:
    """Return what OpenAI is sent of a turn with such calls, and results that a session has; it must take that."""
    turn = [{"role": "user", "content": "x"}, {"role": "assistant", **kept(replies.stream(*ANSWER), tools=TOOLS)}]
    raw = msgspec.Raw(json.dumps([*turn, *results]).encode())
    request = asked({"input": own, **fields}, history=History(turns=(HistoryTurn(2, raw),)))
    client = native_request(request)
    assert client is not None
    sent: dict[str, Any] = json.loads(to_native_body(request, client, "m", ()).content)
    check(sent | {"tools": []})
    return sent["input"][1:]  # type: ignore[no-any-return]  # JSON is Any


OTHERS: Final = [{"type": "function_call_output", "call_id": f"call_{number}", "output": "y"} for number in (1, 2)]


def test_their_results_follow_them_by_their_kind() -> None:
    """The client sends what is new alone, with its tools or without."""
    calls = {"call_0": ("custom_tool_call", "shell", None), "call_1": ("function_call", "f", "ns")}
    for fields in ({"tools": TOOLS}, {}):
        sent = continued([RESULT, *OTHERS], [], **fields)
        assert [item["type"] for item in sent[:3]] == ["custom_tool_call", "function_call", "function_call"]
        assert sent[0]["input"] == "ls -l"
        assert sent[3:] == [RESULT, *OTHERS]
        if fields:
            told = {item["call_id"]: (item["type"], item["name"], item.get("namespace")) for item in sent[:2]}
            assert told == calls


def test_results_that_the_session_has_are_of_the_same_kind() -> None:
    """In a later turn."""
    results = [{"role": "tool", "tool_call_id": f"call_{number}", "content": "y"} for number in range(3)]
    sent = continued([{"role": "user", "content": "And?"}], results, tools=TOOLS)
    assert [item.get("type") for item in sent[3:]] == [
        "custom_tool_call_output", "function_call_output", "function_call_output", None,
    ]  # fmt: skip
