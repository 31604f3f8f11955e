"""What a question of the chat asks of the API."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import pytest
from werkzeug.datastructures import MultiDict

from api.prompt.headers import PromptHeaders, read_headers
from api.requests.checked_body import CheckedBody
from api.ui.pages.chat.question import (
    Choices,
    Question,
    choices_of,
    question_of_form,
    question_of_json,
    to_body,
    to_headers,
    to_message,
)
from shared.errors import InvalidRequest

SESSION: Final = "01a21b3d-6be3-7293-99b5-35eb928002c5"
IMAGE: Final = "data:image/png;base64,iVBORw0KGgo="


def ask(**fields: Any) -> Question:
    """Return a question."""
    return question_of_json(msgspec.json.encode({"session_id": SESSION, "text": "Why?", **fields}))


@pytest.mark.parametrize("form", ["stream", "whole"])
def test_a_question_is_a_chat_completion_that_the_api_takes(form: str) -> None:
    """With its usage, where it is streamed."""
    question = ask(model="scripted", images=[IMAGE])
    checked = CheckedBody.of_chat(to_body(question, to_message(question), stream=form == "stream"))
    assert (checked.model, checked.stream) == ("scripted", form == "stream")
    assert set(checked.needs) == {"images"}


def test_its_choices_are_the_headers_of_the_api() -> None:
    """Each alone; those that were not chosen are not there."""
    for chosen in ("app", "admin", "knowledge"):
        headers = to_headers(ask(**{chosen: True}))
        read = read_headers([(name.encode(), value.encode()) for name, value in headers.items()])
        assert read == PromptHeaders(session_id=SESSION, **{chosen: True})
    assert to_headers(ask(tier="paid"))["x-nself-tier"] == "paid"
    assert "x-nself-tier" not in to_headers(ask())


def test_a_form_asks_what_a_script_asks() -> None:
    """Boxes that are not ticked are not sent."""
    form = MultiDict({"csrf": "x", "session_id": SESSION, "text": "Why?", "model": "m", "tier": "local", "app": "on"})
    assert question_of_form(form, (IMAGE,)) == ask(model="m", tier="local", app=True, images=[IMAGE])
    assert question_of_form(MultiDict(), session_id=SESSION, again=True) == ask(text="", again=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"text": " \n"},
        {"images": ["https://example.com/picture.png"]},
        {"images": ["data:image/svg+xml;base64,PHN2Zz4="]},
        {"images": ["data:text/html;base64,PHN2Zz4="]},
        {"images": [IMAGE] * 9},
        {"tier": "cheap"},
        {"model": ""},
        {"session_id": "none"},
        {"surprise": 1},
    ],
)
def test_what_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    """An image is brought along, never loaded from somewhere."""
    with pytest.raises(InvalidRequest):
        ask(**wrong)


def test_choices_pass_through_the_address_of_a_page() -> None:
    """What is usual is left out, and what cannot be meant is as if it were not there."""
    chosen = Choices(model="m", tier="local", knowledge=True)
    assert choices_of(MultiDict({name: value for name, value in chosen.query.items() if value})) == chosen
    assert choices_of(MultiDict({"tier": "cheap", "app": "true"})) == Choices()
