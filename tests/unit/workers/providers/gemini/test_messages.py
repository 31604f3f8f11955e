"""workers/providers/gemini/messages.py and gemini_signed.py."""

from __future__ import annotations

from typing import Any

import pytest

from shared.errors import InvalidRequest
from tests.upstreams.outcome import chat
from workers.providers.gemini.messages import NO_SIGNATURE, Known, to_contents
from workers.providers.gemini.signed import call_ids, signatures_in
from workers.providers.gemini.thinking import goes_on

USER = {"role": "user", "content": "Hi"}
_USER = {"role": "user", "parts": [{"text": "Hi"}]}


def _to(*messages: dict[str, Any], known: Known | None = None) -> tuple[Any, Any]:
    body = chat({"model": "m", "messages": list(messages)}).body
    return to_contents(body.messages, known or Known())


def _called(*calls: tuple[str, str], arguments: str = "{}") -> dict[str, Any]:
    made = [
        {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
        for call_id, name in calls
    ]
    return {"role": "assistant", "tool_calls": made}


def _result(call_id: str, content: str = "x") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def _names(turn: dict[str, Any]) -> list[str]:
    return [part["functionResponse"]["name"] for part in turn["parts"]]


def test_instructions_merge_wherever_they_stand() -> None:
    """Gemini knows one system instruction."""
    parts = [{"type": "text", "text": "B"}, {"type": "text", "text": "C"}]
    system, contents = _to({"role": "system", "content": "A"}, USER, {"role": "developer", "content": parts})
    assert system == [{"text": "A"}, {"text": "B"}, {"text": "C"}]
    assert contents == [_USER]


def test_instructions_alone_become_the_users_words() -> None:
    """A conversation without contents is refused."""
    assert _to({"role": "system", "content": "A"}) == ([], [{"role": "user", "parts": [{"text": "A"}]}])


def test_turns_of_the_same_role_merge() -> None:
    """Roles alternate there."""
    said = {"role": "assistant", "content": "a"}
    _, contents = _to(USER, USER, said, said, USER)
    assert contents == [
        {"role": "user", "parts": [{"text": "Hi"}, {"text": "Hi"}]},
        {"role": "model", "parts": [{"text": "a"}, {"text": "a"}]},
        _USER,
    ]


def test_empty_texts_are_left_out() -> None:
    """Gemini refuses them; a message of nothing else is left out as a whole."""
    empty = {"type": "text", "text": ""}
    _, contents = _to({"role": "user", "content": [empty]}, {"role": "assistant", "content": ""}, USER)
    assert contents == [_USER]


@pytest.mark.parametrize("messages", [[{"role": "user", "content": ""}], [{"role": "system", "content": ""}]])
def test_a_conversation_of_nothing_is_refused(messages: list[dict[str, Any]]) -> None:
    """There is nothing to send."""
    with pytest.raises(InvalidRequest) as caught:
        _to(*messages)
    assert caught.value.param == "messages"


def test_text_before_a_call_stays_before_it() -> None:
    """Both are one turn."""
    message = {**_called(("call_a", "f"), arguments='{"x":1}'), "content": "I look."}
    _, contents = _to(USER, message, _result("call_a"))
    assert contents[1]["parts"] == [{"text": "I look."}, {"functionCall": {"name": "f", "args": {"x": 1}}}]


def test_results_are_in_the_order_of_their_calls() -> None:
    """Minted ids do not go out, so the order tells which is which, also for calls of the same function."""
    _, contents = _to(USER, _called(("call_a", "f"), ("call_b", "f")), _result("call_b", "2"), _result("call_a", "1"))
    responses = [part["functionResponse"]["response"]["output"] for part in contents[2]["parts"]]
    assert (contents[2]["role"], responses) == ("user", ["1", "2"])


def test_what_the_user_adds_to_results_is_in_their_turn() -> None:
    """Results come first."""
    _, contents = _to(USER, _called(("call_a", "f")), _result("call_a"), USER)
    assert [list(part) for part in contents[2]["parts"]] == [["functionResponse"], ["text"]]


def test_ids_that_gemini_gave_come_back() -> None:
    """With the call and with its result."""
    _, contents = _to(USER, _called(("x1", "f")), _result("x1"))
    assert contents[1]["parts"][0]["functionCall"] == {"id": "x1", "name": "f", "args": {}}
    assert contents[2]["parts"][0]["functionResponse"] == {"id": "x1", "name": "f", "response": {"output": "x"}}


def test_the_same_ids_may_come_again_in_a_later_turn() -> None:
    """Results belong to the calls just before them."""
    _, contents = _to(USER, _called(("a", "f")), _result("a"), _called(("a", "g")), _result("a"))
    assert [_names(contents[2]), _names(contents[4])] == [["f"], ["g"]]


def test_calls_that_share_an_id_take_their_results_in_order() -> None:
    """Some models repeat ids within a reply."""
    _, contents = _to(USER, _called(("a", "f"), ("a", "g")), _result("a", "1"), _result("a", "2"))
    assert _names(contents[2]) == ["f", "g"]
    assert contents[2]["parts"][1]["functionResponse"]["response"] == {"output": "2"}


@pytest.mark.parametrize(
    ("text", "response"),
    [
        ("plain", {"output": "plain"}),
        ("", {"output": ""}),
        ("[1]", {"output": "[1]"}),
        ("7", {"output": "7"}),
        ('{"a": 1}', {"a": 1}),
        ('{"output": 1, "a": 2}', {"output": {"output": 1, "a": 2}}),
        ('{"error": "no"}', {"output": {"error": "no"}}),
        ("[" * 5000, {"output": "[" * 5000}),
    ],
)
def test_a_result_is_an_object(text: str, response: dict[str, Any]) -> None:
    """Nothing in it is lost to the keys that have a meaning there."""
    _, contents = _to(USER, _called(("call_a", "f")), _result("call_a", text))
    assert contents[2]["parts"][0]["functionResponse"]["response"] == response


REFUSED: list[tuple[list[dict[str, Any]], str]] = [
    ([_result("c")], "messages[1].tool_call_id"),
    ([_called(("c", "f")), _result("d")], "messages[2].tool_call_id"),
    ([_called(("c", "f")), _result("c"), _result("c")], "messages[3].tool_call_id"),
    ([_called(("c", "f")), _result("c"), USER, _result("c")], "messages[4].tool_call_id"),
    ([_called(("c", "f"), ("d", "f")), _result("c"), USER], "messages[1].tool_calls[1]"),
    ([_called(("c", "f"))], "messages[1].tool_calls[0]"),
    ([_called(("c", "f")), _called(("d", "f")), _result("d")], "messages[1].tool_calls[0]"),
    ([{"role": "function", "name": "f", "content": "x"}], "messages[1].name"),
    ([{"role": "assistant", "audio": {"id": "x"}}], "messages[1].audio"),
    (
        [{"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "x"}}]}],
        "messages[1].tool_calls[0].type",
    ),
]


@pytest.mark.parametrize(
    ("messages", "param"), REFUSED, ids=[f"{number}-{param}" for number, (_, param) in enumerate(REFUSED)]
)
def test_calls_and_results_that_do_not_match_are_refused_by_place(messages: list[dict[str, Any]], param: str) -> None:
    """Gemini would refuse them too, without saying where."""
    with pytest.raises(InvalidRequest) as caught:
        _to(USER, *messages)
    assert caught.value.param == param


def test_legacy_function_messages_become_calls_and_results() -> None:
    """The call has no id there, and its result names the function itself."""
    made = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"x":1}'}}
    _, contents = _to(USER, made, {"role": "function", "name": "f", "content": "ok"})
    assert contents[1:] == [
        {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"x": 1}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"output": "ok"}}}]},
    ]


def test_a_refusal_said_before_is_a_text() -> None:
    """The model sees what it said, in whichever form the client kept it."""
    parts = [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "b"}]
    _, contents = _to(USER, {"role": "assistant", "refusal": "No."}, {"role": "assistant", "content": parts})
    assert contents[1]["parts"] == [{"text": "No."}, {"text": "a"}, {"text": "b"}]


def test_signatures_stand_with_their_calls_again() -> None:
    """Each in the very part that it came in."""
    known = Known(signatures={"call_b": "c2ln"})
    _, contents = _to(
        USER, _called(("call_a", "f"), ("call_b", "g")), _result("call_a"), _result("call_b"), known=known
    )
    assert [part.get("thoughtSignature") for part in contents[1]["parts"]] == [None, "c2ln"]


def test_a_model_that_needs_signatures_gets_one_with_each_first_call() -> None:
    """Another model's calls, or lost signatures, pass by Google's own word for that."""
    known = Known(signatures={"call_c": "c2ln"}, needs_signatures=True)
    turns = [_called(("call_a", "f"), ("call_b", "f")), _result("call_a"), _result("call_b")]
    _, contents = _to(USER, *turns, _called(("call_c", "f")), _result("call_c"), known=known)
    assert [part.get("thoughtSignature") for part in contents[1]["parts"]] == [NO_SIGNATURE, None]
    assert [part.get("thoughtSignature") for part in contents[3]["parts"]] == ["c2ln"]


def test_signatures_that_the_client_brings_are_found() -> None:
    """They stand where Google's own compatible API puts them; anything else there is passed over."""
    made = _called(("a", "f"), ("b", "f"), ("c", "f"), ("d", "f"))
    extras: list[Any] = [
        {"google": {"thought_signature": "c2ln"}}, {"google": 7}, None, {"google": {"thought_signature": 7}},
    ]  # fmt: skip
    for call, extra in zip(made["tool_calls"], extras, strict=True):
        call["extra_content"] = extra
    stray = {**USER, "tool_calls": ["thought_signature"]}
    request = chat({"model": "m", "messages": [stray, made]})
    assert signatures_in(request) == {"a": "c2ln"}
    assert call_ids(request.body.messages) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("messages", "contents"),
    [
        ([USER], [{"role": "user", "parts": [{"text": "A"}, {"text": "Hi"}]}]),
        (
            [{"role": "assistant", "content": "Yes?"}, USER],
            [{"role": "user", "parts": [{"text": "A"}]}, {"role": "model", "parts": [{"text": "Yes?"}]}, _USER],
        ),
        ([], [{"role": "user", "parts": [{"text": "A"}]}]),
    ],
    ids=["user", "assistant", "alone"],
)
def test_what_takes_no_instructions_gets_them_from_the_user(
    messages: list[dict[str, Any]], contents: list[dict[str, Any]]
) -> None:
    """Gemma 3: first things first, before the user's own words."""
    known = Known(takes_instructions=False)
    assert _to({"role": "system", "content": "A"}, *messages, known=known) == ([], contents)
    assert _to(USER, known=known) == ([], [_USER])


@pytest.mark.parametrize(
    ("model", "roles"),
    [
        ("gemini-2.5-flash", ["user", "model"]),
        ("gemini-3.1-pro-preview", ["user", "model"]),
        ("gemini-3.5-flash-lite", ["user", "model", "user"]),
        ("gemini-3.8-flash", ["user", "model", "user"]),
        ("gemini-4-argon", ["user", "model", "user"]),
    ],
)
def test_the_user_speaks_last_to_a_model_that_goes_on_with_no_turn_of_its_own(model: str, roles: list[str]) -> None:
    """Google answers with 400 to a last turn of the model; older ones go on with it."""
    _, contents = _to(USER, {"role": "assistant", "content": "Well,"}, known=Known(goes_on=goes_on(model)))
    assert [turn["role"] for turn in contents] == roles
