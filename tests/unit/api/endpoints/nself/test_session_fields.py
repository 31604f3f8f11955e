"""The fields that nSelf's newer command line puts into `metadata`."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.endpoints.nself.session_fields import MOST_SESSION_CHARS, from_claw_chat, session_id_of
from shared.errors import InvalidRequest

MESSAGES = [{"role": "user", "content": "hello"}]
SESSION = "018f0000-0000-7000-8000-000000000001"


def body(**fields: Any) -> bytes:
    """Return a request of that command line."""
    return json.dumps({"messages": MESSAGES, **fields}).encode()


def test_what_is_not_openais_is_taken_out() -> None:
    """A body without a model means `auto`; other metadata stay, as texts."""
    asked = from_claw_chat(
        body(
            stream=True,
            metadata={"topic": "t", "session_id": "mine", "resume": True, "no_memory": True, "a": True, "b": "c"},
        )
    )
    assert (asked.session, asked.resumes) == ("mine", False)
    assert json.loads(asked.body) == {
        "messages": MESSAGES, "stream": True, "model": "auto", "metadata": {"a": "true", "b": "c"},
    }  # fmt: skip


def test_only_a_request_without_a_session_resumes_one() -> None:
    """Other requests of it have no session at all."""
    assert from_claw_chat(body(metadata={"resume": True})).resumes
    assert from_claw_chat(body(metadata={"resume": True, "session_id": ""})).resumes
    for other in (body(), body(metadata=None), body(metadata={"resume": False, "no_memory": "true"})):
        asked = from_claw_chat(other)
        assert (asked.session, asked.resumes) == (None, False)
        assert "metadata" not in json.loads(asked.body)
    assert json.loads(from_claw_chat(body(model="local")).body)["model"] == "local"


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (b"{", None),
        (b"[]", None),
        (body(metadata=[]), "metadata"),
        (body(metadata={"session_id": 7}), "metadata.session_id"),
        (body(metadata={"session_id": "x" * (MOST_SESSION_CHARS + 1)}), "metadata.session_id"),
        (body(metadata={"resume": "maybe"}), "metadata.resume"),
        (body(metadata={"resume": 2}), "metadata.resume"),
        (body(metadata={"no_memory": {}}), "metadata.no_memory"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(raw: bytes, param: str | None) -> None:
    """In OpenAI's form."""
    with pytest.raises(InvalidRequest) as refused:
        from_claw_chat(raw)
    assert refused.value.param == param


@given(st.text(min_size=1, max_size=60), st.text(min_size=1, max_size=40))
def test_a_text_is_one_session_of_its_owner(name: str, owner: str) -> None:
    """The same each time, another one for each owner, and always a UUID."""
    found = session_id_of(name, owner)
    assert str(UUID(found)) == found == session_id_of(name, owner)
    assert found != session_id_of(name, owner + "x")


def test_a_uuid_is_itself() -> None:
    """Whoever's it is: another key's session stays closed to this one."""
    assert session_id_of(SESSION.upper(), "a") == session_id_of(SESSION, "b") == SESSION
