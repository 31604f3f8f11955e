"""What `truncation: auto` leaves out of a conversation that is too long."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.dialects.responses.request import ResponsesRequest
from shared.errors import InvalidRequest
from workers.providers.openai.calls import with_sound_calls

CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}, "description": "d" * 40}


def user(text: str) -> dict[str, Any]:
    """Return a question."""
    return {"role": "user", "content": text}


def result(call_id: str, *, has_image: bool) -> dict[str, Any]:
    """Return what a call came to."""
    output = [{"type": "input_text", "text": "o" * 40}]
    image = [{"type": "input_image", "image_url": f"https://images.example/{call_id}"}] if has_image else []
    return {"type": "function_call_output", "call_id": call_id, "output": [*output, *image]}


@st.composite
def steps(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Return what a model said or called in one step, with the results."""
    number = draw(st.uuids(version=4)).hex
    if draw(st.booleans()):
        return [{"role": "assistant", "content": f"answer {number} " + "a" * draw(st.integers(0, 200))}]
    names = [f"c{number}_{index}" for index in range(draw(st.integers(1, 3)))]
    thoughts = [{"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}]
    calls = [{**CALL, "call_id": name} for name in names]
    return [*(thoughts if draw(st.booleans()) else []), *calls,
            *(result(name, has_image=draw(st.booleans())) for name in names)]  # fmt: skip


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Turns of questions, answers and calls, the last of which goes on or has only been asked."""
    found: list[dict[str, Any]] = [{"role": "developer", "content": "Be kind."}] if draw(st.booleans()) else []
    for number in range(draw(st.integers(1, 4))):
        found += [user(f"question {number}.{part}") for part in range(draw(st.integers(1, 2)))]
        if draw(st.booleans()):
            found.append({"role": "system", "content": f"now {number}"})
        found += [item for step in draw(st.lists(steps(), max_size=3)) for item in step]
    return found


def read(items: list[dict[str, Any]], **fields: Any) -> ResponsesRequest:
    """Return a request that may be cut."""
    body = {"model": "m", "input": items, "truncation": "auto", "tools": [TOOL], **fields}
    return ResponsesRequest(json.dumps(body).encode())


def messages(request: ResponsesRequest) -> list[dict[str, Any]]:
    """Return its chat's messages."""
    found: list[dict[str, Any]] = json.loads(request.chat)["messages"]
    return found


def size(found: list[dict[str, Any]]) -> int:
    """Return about how many tokens messages are, tools among them; nothing is longer than this."""
    return len(json.dumps(found)) + 1_000 * json.dumps(found).count("images.example") + 200


@given(conversations(), st.integers(0, 400))
def test_the_oldest_goes_first_and_no_more_than_must(items: list[dict[str, Any]], room: int) -> None:
    """What is left are the newest messages, whole, with all instructions, the last question, and calls' own results."""
    request = read(items, instructions="In verse.")
    cut = request.fitted(room)
    whole, left = messages(request), messages(cut)
    assert [message for message in whole if message in left] == left
    assert [one for one in left if one["role"] in {"system", "developer"}] == [
        one for one in whole if one["role"] in {"system", "developer"}
    ]
    asked = [one for one in whole if one["role"] == "user" and "question" in str(one["content"])]
    assert asked[-1] in left
    assert whole[-1] in left
    assert with_sound_calls(left, only_ids=True)  # raises at a result without its call
    assert len(left) == len(whole) or size(whole) > room
    said = [one for one in left if one["role"] not in {"system", "developer"}]
    assert said[0]["role"] == "user"


@given(conversations())
def test_each_time_less_is_left_until_nothing_can_go(items: list[dict[str, Any]]) -> None:
    """A model that refuses it is asked a few times at the most."""
    request: ResponsesRequest | None = read(items)
    for _ in range(20):
        assert request is not None
        before = len(messages(request))
        request = request.shorter()
        if request is None:
            return
        assert len(messages(request)) < before
    raise AssertionError("it never ends")


def test_errors_name_the_clients_own_items_all_the_same() -> None:
    """Those that are left stood elsewhere."""
    cut = read([user("a" * 400), {"role": "assistant", "content": "b"}, user("c")]).fitted(20)
    assert [message["content"] for message in messages(cut)] == ["c"]
    error = InvalidRequest("Wrong: messages[0].content", param="messages[0].content")
    cut.name_params(error)
    assert (error.param, error.message) == ("input[2].content", "Wrong: input[2].content")


def test_nothing_goes_where_nobody_allows_it() -> None:
    """Disabled is OpenAI's default."""
    for fields in ({"truncation": "disabled"}, {"truncation": None}):
        request = read([user("a"), {"role": "assistant", "content": "b"}, user("c")], **fields)
        assert not request.may_be_cut
        assert request.shorter() is None
