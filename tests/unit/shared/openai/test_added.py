"""What the gateway puts before a client's messages, in both forms of a request."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidRequest
from shared.models.rejected_parameters import adapted
from shared.openai.prompt_size import estimate_prompt_tokens, most_prompt
from shared.openai.request import ChatBody, ChatRequest, decode_chat
from shared.types import AddedText

ADDED = (AddedText("app", "You know.", 2), AddedText("admin", "It runs.", 2))
JOINED = "You know.\n\nIt runs."
USER = {"role": "user", "content": "Hello", "name": "me"}

texts = st.text(max_size=12)
parts = st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": texts}), min_size=1, max_size=3)
instructions = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "developer"]), "content": texts | parts}, optional={"name": st.just("n")}
)
turns = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": texts | parts})
messages = st.lists(instructions | turns, min_size=1, max_size=5)


def request(messages: list[dict[str, Any]], added: tuple[AddedText, ...] = ADDED, **fields: Any) -> ChatRequest:
    """Return a request with what is added."""
    return ChatRequest(json.dumps({"model": "m", "messages": messages, **fields}).encode(), added)


def text_of(content: Any) -> str:
    """Return the text of a message's content."""
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


@given(messages)
def test_both_forms_say_the_same(given_messages: list[dict[str, Any]]) -> None:
    """What is decoded of `fields` is `body`, whatever the conversation."""
    asked = request(given_messages)
    assert msgspec.convert(asked.fields, ChatBody) == asked.body


@given(messages)
def test_what_is_added_comes_first_and_nothing_else_changes(given_messages: list[dict[str, Any]]) -> None:
    """The client's messages follow, each as it was; its instructions are not doubled."""
    sent = request(given_messages).fields["messages"]
    assert text_of(sent[0]["content"]).startswith(JOINED)
    if given_messages[0]["role"] in {"system", "developer"}:
        own = text_of(given_messages[0]["content"])
        rest = text_of(sent[0]["content"]).removeprefix(JOINED)
        assert rest == (f"\n\n{own}" if own or isinstance(given_messages[0]["content"], list) else "")
        assert {name: sent[0][name] for name in sent[0] if name != "content"} == {
            name: given_messages[0][name] for name in given_messages[0] if name != "content"
        }
        assert sent[1:] == given_messages[1:]
    else:
        assert sent[0] == {"role": "system", "content": JOINED}
        assert sent[1:] == given_messages


@given(messages)
def test_without_it_a_request_is_the_clients(given_messages: list[dict[str, Any]]) -> None:
    """Nothing is put first where nothing is added."""
    assert request(given_messages, ()).fields["messages"] == given_messages


def test_it_stays_when_a_field_is_left_out() -> None:
    """As where several choices are asked for one by one."""
    assert request([USER], n=2).without("n").fields["messages"] == [{"role": "system", "content": JOINED}, USER]


def test_the_clients_bytes_are_kept() -> None:
    """They travel beside what is added."""
    asked = request([USER], top_k=5)
    assert asked.fields["top_k"] == 5
    assert json.loads(bytes(asked.raw))["messages"] == [USER]


def test_it_counts_as_prompt() -> None:
    """In estimates, and for budgets with more than a token for each of its bytes."""
    raw = json.dumps({"model": "m", "messages": [USER]}).encode()
    added = (AddedText("app", "é" * 400, 200),)
    body = decode_chat(raw)
    assert estimate_prompt_tokens(ChatRequest(raw, added).body) - estimate_prompt_tokens(body) >= 199
    assert most_prompt(len(raw), body, added).tokens > len(raw) + 800


@pytest.mark.parametrize(
    ("first", "named"), [({"role": "user", "content": "x"}, 2), ({"role": "system", "content": "x"}, 3)]
)
def test_an_error_names_the_clients_own_message(first: dict[str, Any], named: int) -> None:
    """Not that of what was sent, which has one more where the client has no instructions."""
    asked = request([first, USER])
    assert asked.body.messages
    error = InvalidRequest("messages[3].role is wrong, so is messages[10].", param="messages[3].role")
    asked.name_clients_places(error)
    assert error.param == f"messages[{named}].role"
    assert error.message.startswith(f"messages[{named}].role is wrong")


def test_so_does_an_error_about_a_request_with_other_fields() -> None:
    """As one without a hint that a model has refused, or for a single choice."""
    for changed in (request([USER], n=2).without("n"), adapted(request([USER], seed=5), "openai", ("seed",))):
        assert len(changed.body.messages) == 2
        error = InvalidRequest("messages[1] is wrong.", param="messages[1]")
        changed.name_clients_places(error)
        assert error.param == "messages[0]"
