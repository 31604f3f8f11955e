"""The four headers, read strictly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.prompt.headers import PromptHeaders, read_headers
from shared.errors import InvalidRequest

FLAGS = ["x-nself-app", "x-nself-admin", "x-nself-knowledge"]
SESSION = "x-nself-session-id"
ID = "0193f6b0-1a2b-7c3d-8e4f-5a6b7c8d9e0f"
OTHERS = [(b"host", b"x"), (b"x-nself-priority", b"high"), (b"authorization", b"Bearer sk-nself-x")]


def test_without_them_nothing_is_asked_for() -> None:
    """Whatever other headers there are."""
    assert read_headers(OTHERS) == PromptHeaders()


@pytest.mark.parametrize("name", FLAGS)
def test_true_and_false_are_read(name: str) -> None:
    """Each asks for its own."""
    app, admin, knowledge = (name == each for each in FLAGS)
    wanted = PromptHeaders(app=app, admin=admin, knowledge=knowledge)
    assert read_headers([*OTHERS, (name.encode(), b"true")]) == wanted
    assert read_headers([*OTHERS, (name.encode(), b"false")]) == PromptHeaders()


@given(st.sampled_from(FLAGS), st.binary(max_size=8).filter(lambda value: value.strip() not in {b"true", b"false"}))
def test_any_other_value_is_refused_by_name(name: str, value: bytes) -> None:
    """Also `True`, `1`, and nothing."""
    with pytest.raises(InvalidRequest) as refused:
        read_headers([(name.encode(), value)])
    assert (refused.value.param, refused.value.code) == (name, "invalid_value")


@pytest.mark.parametrize("value", ["True", "TRUE", "1", "yes", "on", "", "true,true", "null"])
@pytest.mark.parametrize("name", FLAGS)
def test_what_is_nearly_true_is_refused(name: str, value: str) -> None:
    """The words that other APIs take."""
    with pytest.raises(InvalidRequest, match=name):
        read_headers([(name.encode(), value.encode())])


def test_a_session_is_a_uuid() -> None:
    """In capitals too, which are the same session."""
    for text in (ID, ID.upper()):
        assert read_headers([(SESSION.encode(), text.encode())]) == PromptHeaders(session_id=ID)


@pytest.mark.parametrize("value", ["", "1", "not-a-uuid", ID.replace("-", ""), "{" + ID + "}", ID + "0"])
def test_a_session_that_is_no_uuid_is_refused(value: str) -> None:
    """Other ways to write one too."""
    with pytest.raises(InvalidRequest) as refused:
        read_headers([(SESSION.encode(), value.encode())])
    assert refused.value.param == SESSION


@pytest.mark.parametrize("name", [*FLAGS, SESSION])
def test_a_header_that_is_there_twice_is_refused(name: str) -> None:
    """Which of the two was meant nobody can tell."""
    value = ID.encode() if name == SESSION else b"true"
    with pytest.raises(InvalidRequest, match="once only"):
        read_headers([(name.encode(), value), (name.encode(), value)])
