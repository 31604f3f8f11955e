"""Fields of another JSON type, and JSON that is none by the letter, lose nothing else."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pytest
from msgspec import Raw, Struct

from shared.errors import Malformed
from workers.providers.replies.call_arguments import to_text
from workers.providers.replies.json_reader import json_reader, read_any


class Inner(Struct):
    """Needs a name."""

    name: str
    size: int = 0


class Outer(Struct):
    """One field of each kind that replies have."""

    bare_array: ClassVar = "items"
    items: list[Inner] | None = None
    text: str | None = None
    number: int = 0
    share: float = 0.0
    flag: bool = False
    either: dict[str, Any] | str | None = None
    inner: Inner | None = None
    raw: Raw = Raw(b"null")
    whatever: Any = None


NOTHING: list[Any] = [None, {}, [], "no", [[]]]
read = json_reader(Outer)


@pytest.mark.parametrize(
    ("field", "given", "taken"),
    [
        ("text", 7, None),
        ("text", True, None),
        ("text", {"a": 1}, None),
        ("number", "7", 7),
        ("number", 7.0, 7),
        ("number", 7.9, 0),
        ("number", True, 0),
        ("number", "1e999", 0),
        ("share", "0.5", 0.5),
        ("share", 1, 1.0),
        ("share", [], 0.0),
        ("flag", "true", True),
        ("flag", 1, True),
        ("flag", "perhaps", False),
        ("flag", None, False),
        ("either", [], None),
        ("either", 7, None),
        ("inner", [{"name": "a"}], Inner("a")),
        ("inner", {"name": "a", "size": None}, Inner("a")),
        ("inner", {"size": 1}, None),
        ("inner", "a", None),
        ("items", {"name": "a"}, [Inner("a")]),
        ("items", [None, {"name": "a"}, 7, {"name": "b", "size": "2"}], [Inner("a"), Inner("b", 2)]),
    ],
)
def test_a_field_of_another_type_is_made_its_own_or_left_out(field: str, given: Any, taken: Any) -> None:
    """The others stay as they are."""
    other = {"whatever": {"a": 1}, "raw": [1, 2]}
    found = read(json.dumps({field: given, **other, "number" if field == "text" else "text": None}).encode())
    assert getattr(found, field) == taken
    assert (found.whatever, bytes(found.raw).replace(b" ", b"")) == ({"a": 1}, b"[1,2]")


def test_an_array_in_the_place_of_the_whole_is_the_one_that_the_type_names() -> None:
    """Of a list of one as well; an array that is none is no list at all."""
    assert read(b'[{"name":"a","created":1.5}]').items == [Inner("a")]
    assert read(b"[]").items == []
    for body in (b'{"items":7}', b"7", b'"x"', b"null"):
        with pytest.raises(Malformed):
            read(body)
    assert json_reader(Inner)(b'[{"name":"a"}]') == Inner("a")
    with pytest.raises(Malformed):
        json_reader(Inner)(b"{}")


@pytest.mark.parametrize(
    ("given", "value"),
    [
        (b'{"text":"a\xffb"}', "a\ufffdb"),
        (b'{"text":"\\ud83d"}', "\ufffd"),
        (b'{"text":"\\ude00x\\ud83d\\ude00"}', "\ufffdx\N{GRINNING FACE}"),
        (b'{"text":"a\nb"}', "a\nb"),
        (b'\xef\xbb\xbf{"text":"a"}', "a"),
        (b'{"text":"a","x":NaN,"y":-Infinity,"z":1e999,"n":' + b"9" * 5000 + b"}", "a"),
        (b'{"text":"a","x":"\\ud800","y":"\xff"}', "a"),
    ],
)
def test_what_is_json_but_for_the_letter_is_read(given: bytes, value: str) -> None:
    """Servers in Python write NaN; tokens are cut in the middle of a character."""
    assert read(given).text == value
    assert read_any(given)["text"] == value


@pytest.mark.parametrize("body", [b"", b"<html>", b"{", b'{"a":1,}', b"[" * 100_000, b'{"x":' * 100_000])
def test_what_is_no_json_is_malformed(body: bytes) -> None:
    """Nothing else is raised."""
    for reader in (read, read_any, json_reader(Outer, takes_anything=True)):
        with pytest.raises(Malformed):
            reader(body)


def test_an_event_may_say_nothing() -> None:
    """Where that is meant."""
    for given in NOTHING:
        assert json_reader(Outer, takes_anything=True)(json.dumps(given).encode()).text is None


def test_arguments_are_a_text_whatever_they_came_as() -> None:
    """A blank text is a call without any."""
    assert [to_text(given) for given in ({"a": "é"}, ' {"a": 1}', "", " ", None, {})] == [
        '{"a":"é"}', ' {"a": 1}', "{}", "{}", "{}", "{}",
    ]  # fmt: skip


def test_a_type_may_be_a_list_of_numbers() -> None:
    """As the vectors of Ollama's embeddings are."""
    read = json_reader(list[float])
    assert read(b"[0.5, 0.25]") == [0.5, 0.25]
    assert read(b'[1, "2", null]') == [1.0, 2.0]
