"""Tool calls are told apart and kept whole, however an upstream numbers and names their pieces."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import chain, pairwise, zip_longest
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from workers.providers.replies.call_arguments import to_text
from workers.providers.replies.finish import finish_reason
from workers.providers.replies.tool_calls import Piece, ToolCalls

if TYPE_CHECKING:
    from shared.types import ToolCallDelta


@dataclass(frozen=True)
class Habits:
    """How an upstream marks the pieces of its calls.

    Args:
        indexes: "own" for each call, "zero" for all, or "none".
        ids: in the "first" piece of a call, in "every" one, a "new" one in every piece, the "same" for all calls, or
            "none".
        names: in the "first" piece, in "every" one, or in a "late" one after the arguments have begun.
        interleaved: whether the calls' pieces alternate.
    """

    indexes: str
    ids: str
    names: str
    interleaved: bool

    @property
    def can_be_told(self) -> bool:
        """Return whether calls can be told apart at all."""
        if (self.ids, self.names) == ("new", "every"):
            return False
        if self.indexes == "own":
            return True
        if self.interleaved:
            return False
        return self.names != "late" or self.ids not in {"none", "same"}


@dataclass(frozen=True)
class Call:
    """A call as the model made it, with its arguments in the pieces that an upstream sends."""

    name: str
    pieces: list[str]

    @property
    def arguments(self) -> str:
        """Return the whole arguments."""
        return "".join(self.pieces)


HABITS = st.builds(
    Habits,
    indexes=st.sampled_from(["own", "zero", "none"]),
    ids=st.sampled_from(["first", "every", "new", "same", "none"]),
    names=st.sampled_from(["first", "every", "late"]),
    interleaved=st.booleans(),
).filter(lambda habits: habits.can_be_told)


@st.composite
def made_calls(draw: st.DrawFn) -> Call:
    """Return a call, its arguments cut anywhere."""
    value = draw(st.dictionaries(st.sampled_from(["city", "}{", '"']), st.text(max_size=3) | st.integers(), max_size=2))
    text = json.dumps(value)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=3)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    return Call(draw(st.sampled_from(["weather", "time"])), pieces)


def pieces_of(number: int, call: Call, habits: Habits) -> list[Piece]:
    """Return a call's pieces as an upstream with these habits sends them."""
    last = len(call.pieces) - 1
    named_at = last if habits.names == "late" else 0
    pieces = []
    for at, text in enumerate(call.pieces):
        ids = {"new": f"id_{number}_{at}", "same": "id", "every": f"id_{number}"}
        given_id = ids.get(habits.ids) or (f"id_{number}" if (habits.ids, at) == ("first", 0) else None)
        index = {"own": number, "zero": 0}.get(habits.indexes)
        pieces.append(Piece(index, given_id, call.name if at == named_at or habits.names == "every" else None, text))
    return pieces


def told(deltas: list[ToolCallDelta]) -> list[tuple[str, str]]:
    """Return the calls that deltas add up to; fails where a client could not put them together."""
    calls: dict[int, list[str]] = {}
    ids = set()
    for delta in deltas:
        if delta.index not in calls:
            assert delta.id
            assert delta.id not in ids
            ids.add(delta.id)
            calls[delta.index] = [delta.name or "", ""]
        else:
            assert delta.id is None
            assert delta.name is None
        calls[delta.index][1] += delta.arguments
    assert sorted(calls) == list(range(len(calls)))
    return [(name, arguments) for _, (name, arguments) in sorted(calls.items())]


def is_plain(calls: list[Call], habits: Habits) -> bool:
    """Return whether no call begins as a last, empty piece of the one before would look."""
    if habits.indexes == "own" or (habits.ids in {"first", "every", "new"} and habits.names != "late"):
        return True
    if habits.names == "late":
        return all(call.pieces[0].strip() for call in calls[1:])
    return all(one.name != other.name or other.pieces[0].strip() for one, other in pairwise(calls))


@given(st.lists(made_calls(), min_size=1, max_size=4), HABITS)
@example([Call("weather", ["", "{}"]), Call("time", ["", "{}"])], Habits("zero", "first", "first", interleaved=False))
@example([Call("weather", ["{", "}"])], Habits("own", "first", "late", interleaved=False))
@example([Call("weather", ["{", "}"])], Habits("none", "new", "first", interleaved=False))
def test_calls_come_out_as_they_were_made(calls: list[Call], habits: Habits) -> None:
    """Each once, whole, in order, with an id of its own, wherever it can be known at all which piece is whose."""
    assume(is_plain(calls, habits))
    streams = [pieces_of(number, call, habits) for number, call in enumerate(calls)]
    pieces = list(chain.from_iterable(zip_longest(*streams) if habits.interleaved else streams))
    state = ToolCalls()
    deltas = [delta for piece in pieces if piece is not None for delta in state.take([piece])] + state.rest()
    assert told(deltas) == [(call.name, call.arguments) for call in calls]
    assert state.rest() == []
    at_once = ToolCalls()
    assert told([*at_once.take(piece for piece in pieces if piece is not None), *at_once.rest()]) == told(deltas)


NAMES = {"edit", "edit_file", "edit_existing_file", "read_file"}


@given(
    st.lists(st.sampled_from(sorted(NAMES)), min_size=1, max_size=3),
    st.data(),
    st.sampled_from(["own", "zero", "none"]),
    st.sampled_from(["pieces", "growing"]),
)
def test_a_name_that_comes_in_pieces_is_one_name(
    names: list[str], data: st.DataObject, indexes: str, habit: str
) -> None:
    """`edit_ex`, `isting_file`, as some of Gemini's; or each time more of it. The tools tell what is whole."""
    pieces, made = [], []
    for number, name in enumerate(names):
        cuts = sorted(set(data.draw(st.lists(st.integers(1, len(name) - 1), max_size=3))))
        parts = [name[start:end] for start, end in zip([0, *cuts], [*cuts, len(name)], strict=True)]
        if habit == "growing":
            parts = [name[:end] for end in (*cuts, len(name))]
        index = {"own": number, "zero": 0}.get(indexes)
        pieces += [Piece(index, f"id_{number}" if at == 0 else None, part) for at, part in enumerate(parts)]
        pieces.append(Piece(index, None, None, f'{{"n":{number}}}'))
        made.append((name, f'{{"n":{number}}}'))
    state = ToolCalls(names=NAMES)
    assert told([delta for piece in pieces for delta in state.take([piece])]) == made
    assert state.rest() == []


def test_a_whole_name_is_not_held_back() -> None:
    """Only one that may be the beginning of another waits for what follows, and for the end at the latest."""
    state = ToolCalls(names=NAMES)
    assert told(state.take([Piece(0, "a", "read_file")])) == [("read_file", "")]
    assert state.take([Piece(1, "b", "edit")]) == []
    assert [(delta.name, delta.arguments) for delta in state.rest()] == [(None, "{}"), ("edit", "{}")]
    assert [delta.name for delta in ToolCalls(names=NAMES).take([Piece(0, "a", "unknown")])] == ["unknown"]
    assert [delta.name for delta in ToolCalls().take([Piece(0, "a", "edit")])] == ["edit"]


def test_a_call_that_never_gets_a_name_is_handed_out_at_the_end() -> None:
    """Its arguments are not lost, and the client can tell the model what is missing."""
    calls = ToolCalls()
    assert calls.take([Piece(0, "a", None, "{"), Piece(0, None, "", "}")]) == []
    assert told(calls.rest()) == [("", "{}")]
    assert calls.rest() == []


@pytest.mark.parametrize(
    ("pieces", "calls"),
    [
        (["{}", '{"city":', '"Rome"}'], [("weather", '{"city":"Rome"}')]),
        (["", " {", "}"], [("weather", " {}")]),
        ([" {} ", "\n"], [("weather", " {} \n")]),
        ([], [("weather", "{}")]),
        (["", " "], [("weather", "{}")]),
        (['{"a":', "1}", '{"a":1}'], [("weather", '{"a":1}')]),
        (['{"a":"}"}', '{"a":', '"\\', '""}'], [("weather", '{"a":"}"}'), ("weather", '{"a":"\\""}')]),
        (['{"a":[{"b":1}', "]}", '{"a":2}', '{"a":3}'],
         [("weather", '{"a":[{"b":1}]}'), ("weather", '{"a":2}'), ("weather", '{"a":3}')]),
        (['{"a":1}', "}", "\n"], [("weather", '{"a":1}}\n')]),
        (["7", "7"], [("weather", "77")]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("index", [0, None])
def test_arguments_are_one_object_a_call(pieces: list[str], calls: list[tuple[str, str]], index: int | None) -> None:
    """Not an empty one before the real one, none twice, none of two calls, and `{}` where there are none.

    Proxies of Anthropic's API send `{}` first, some servers all arguments once more at the end, and some those of the
    next call under the same index, without a name.
    """
    state = ToolCalls()
    deltas = state.take([Piece(index, "a", "weather")])
    deltas += [delta for piece in pieces for delta in state.take([Piece(index, arguments=piece)])]
    assert told(deltas + state.rest()) == calls
    assert state.rest() == []


def test_ids_are_of_one_call_each_in_the_whole_reply() -> None:
    """Choices share them; an upstream's own id is kept where it is good."""
    ids: set[str] = set()
    first, second = ToolCalls(ids), ToolCalls(ids)
    assert first.add("f", "a").id == "a"
    others = [first.add("f", "a").id, second.add("f", "a").id, second.add("f", None).id, second.add("f", "").id]
    assert len({"a", *others}) == 5
    assert second.add("f", "b").id == "b"


@pytest.mark.parametrize(
    ("word", "reason", "reason_with_calls"),
    [
        ("eos", "stop", "tool_calls"),
        ("end", "stop", "tool_calls"),
        ("end_turn", "stop", "tool_calls"),
        ("STOP", "stop", "tool_calls"),
        ("model_length", "length", "length"),
        ("max_tokens", "length", "length"),
        ("tool_use", "stop", "tool_calls"),
        ("function_call", "stop", "function_call"),
        ("<|im_end|>", "stop", "tool_calls"),
        ("guardrail_intervened", "content_filter", "content_filter"),
        ("content_filter", "content_filter", "content_filter"),
        ("error", None, None),
        ("abort", None, None),
        ("network_error", None, None),
        ("whatever", None, None),
    ],
)
def test_a_word_for_an_end_is_told_from_one_for_a_failure(
    word: str, reason: str | None, reason_with_calls: str | None
) -> None:
    """Nothing is made of a word that is not known."""
    assert finish_reason(word, has_calls=False) == reason
    assert finish_reason(word, has_calls=True) == reason_with_calls


objects = st.recursive(
    st.integers(0, 9) | st.sampled_from(["", "a", '{"a', ":", "\\", '"']),
    lambda inner: st.dictionaries(st.sampled_from("ab"), inner) | st.lists(inner, max_size=2),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from("ab"), objects, min_size=1), st.data())
def test_arguments_that_each_piece_repeats_are_said_once(arguments: dict[str, Any], data: st.DataObject) -> None:
    """By some servers each piece is all there is so far; by all others it is what is new, whatever it looks like."""
    text = json.dumps(arguments)
    cuts = [*sorted(set(data.draw(st.lists(st.integers(1, len(text)), max_size=5)))), len(text)]
    pieces = [text[start:end] for start, end in pairwise([0, *cuts])]
    assert told_of(pieces) == text
    # At the first of these places alone it cannot be told.
    if not text[: cuts[0]].rstrip().endswith((":", ",", "[")):
        assert told_of([text[:end] for end in cuts]) == text


def told_of(pieces: list[str]) -> str:
    """Return the arguments of a call that came in these pieces."""
    state = ToolCalls()
    deltas = state.take([Piece(0, "a", "f", "")])
    deltas += [delta for piece in pieces for delta in state.take([Piece(0, arguments=piece)])]
    ((_, arguments),) = told(deltas + state.rest())
    return arguments


@pytest.mark.parametrize("pieces", [["null"], ["None"], ["[]"], ['""'], ["", " null"], ["{}", "null"], [" "]])
def test_what_stands_for_no_arguments_is_an_empty_object(pieces: list[str]) -> None:
    """Alone, and before the real ones."""
    assert told_of(pieces).strip() == "{}"
    assert told_of([*pieces, '{"a":', "1}"]).strip() == '{"a":1}'


def test_arguments_that_are_encoded_twice_are_decoded_once() -> None:
    """In pieces and whole; what is a text and no object stays one."""
    text = '{"city": "Rome"}'
    twice = json.dumps(text)
    for pieces in ([twice], [twice[:3], twice[3:]], [" ", *twice]):
        assert told_of(pieces) == text
    assert to_text(twice) == text
    for other in ('"Rome"', '"{', '"[1]"'):
        assert told_of([other]) == to_text(other) == other


EMPTY = [Piece(), Piece(0), Piece(1, "", ""), Piece(0, "x"), Piece(2, "x", "", "{}")]


@pytest.mark.parametrize("empty", EMPTY)
def test_a_call_of_nothing_is_none(empty: Piece) -> None:
    """Some servers put one into answers that call nothing, and behind those that do."""
    state = ToolCalls()
    assert [*state.take([empty]), *state.rest()] == []
    assert not state
    state = ToolCalls()
    deltas = state.take([Piece(0, "a", "f", "{}")]) + state.take([empty])
    assert told(deltas + state.rest()) == [("f", "{}")]
    assert len(state) == 1


@pytest.mark.parametrize(
    "name", ["edit", " edit\n", "functions.edit", "default_api:edit", "edit<|channel|>commentary", "to=functions.edit"]
)
def test_a_name_is_that_of_a_tool_that_there_is(name: str) -> None:
    """Without what models and their servers leave before and behind it; another name is as it came."""
    state = ToolCalls(names=NAMES)
    assert told([*state.take([Piece(0, "a", name, "{}")]), *state.rest()]) == [("edit", "{}")]
    assert ToolCalls(names=NAMES).add(name, None).name == "edit"
    assert ToolCalls(names=NAMES).add("x.y", None).name == "x.y"
    assert ToolCalls(names=[*NAMES, "x.edit"]).add("x.edit", None).name == "x.edit"


def test_a_call_without_a_name_is_of_the_only_tool() -> None:
    """Where there are several it is told as it came."""
    for names, name in ((["f"], "f"), (["f", "g"], "")):
        state = ToolCalls(names=names)
        assert told([*state.take([Piece(0, "a", None, '{"a":1}')]), *state.rest()]) == [(name, '{"a":1}')]


@pytest.mark.parametrize("word", ["null", "None", "undefined"])
def test_a_word_for_no_name_is_none(word: str) -> None:
    """Proxies write it into the pieces behind the first one; a tool may have that name, though."""
    state = ToolCalls(names=NAMES)
    deltas = state.take([Piece(0, "a", "edit", '{"path": "')]) + state.take([Piece(0, word, word, '."}')])
    assert told(deltas + state.rest()) == [("edit", '{"path": "."}')]
    state = ToolCalls(names=[word])
    assert told([*state.take([Piece(0, "a", word, "{}")]), *state.rest()]) == [(word, "{}")]
