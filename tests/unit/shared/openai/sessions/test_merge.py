"""What a model is given of a session, for every kind of client."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from shared.openai.sessions.history import History, HistoryTurn
from shared.openai.sessions.merge import Known, Merged, merge, merge_anew
from shared.openai.sessions.messages import call_ids, calls_of, result_id, tokens_of

Message = dict[str, Any]
USER: Final = {"role": "user", "content": "what is new"}


def user(text: str) -> Message:
    """Return what a user says."""
    return {"role": "user", "content": text}


def assistant(text: str) -> Message:
    """Return what a model says."""
    return {"role": "assistant", "content": text}


def call(name: str) -> Message:
    """Return a model's call."""
    function = {"name": "look", "arguments": '{"a": 1}'}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": name, "type": "function", "function": function}],
    }


def result(name: str) -> Message:
    """Return the result of a call."""
    return {"role": "tool", "tool_call_id": name, "content": "found"}


def system(text: str) -> Message:
    """Instructions."""
    return {"role": "system", "content": text}


@st.composite
def turns(draw: st.DrawFn, least: int = 0) -> list[list[Message]]:
    """Whole turns, some with calls; no two users say the same."""
    found = []
    for number, calls in enumerate(draw(st.lists(st.integers(0, 2), min_size=least, max_size=6))):
        answer = assistant(draw(st.sampled_from(["yes", "no", f"answer {number}"])))
        between = [each for step in range(calls) for each in (call(f"{number}-{step}"), result(f"{number}-{step}"))]
        found.append([user(f"question {number}"), *between, answer])
    return found


def flat(parts: list[list[Message]]) -> list[Message]:
    """Return the messages of turns."""
    return [message for part in parts for message in part]


def stored(parts: list[list[Message]]) -> list[Known]:
    """Messages as they are stored, those of each part brought by one request."""
    return [
        Known.of(json.dumps(message).encode(), place=(f"request {request}", place))
        for request, part in enumerate(parts)
        for place, message in enumerate(part)
    ]


def sent(messages: list[Message]) -> list[Known]:
    """Messages as a client sends them, with fields and blanks of its own."""
    return [
        Known.of(json.dumps({**message, "refusal": None} if message["role"] == "assistant" else message).encode())
        for message in messages
    ]


def told(merged: Merged, messages: list[Message]) -> list[Message]:
    """Return what the model is given, where the client sends these messages and no instructions."""
    before = [*merged.instructions, *(each for turn in merged.turns for each in turn), *merged.begun]
    return [each.message for each in before] + messages


def new(merged: Merged) -> list[Message]:
    """Return what is stored of what the client sent, without the client's own fields."""
    return [{name: value for name, value in each.message.items() if name != "refusal"} for each in merged.new]


@given(turns())
def test_a_client_that_sends_what_is_new_gets_what_is_stored_before_it(parts: list[list[Message]]) -> None:
    """All of it, in whole turns, and only the new message is stored."""
    merged = merge(stored(parts), sent([USER]))
    assert told(merged, [USER]) == [*flat(parts), USER]
    assert [[each.message for each in turn] for turn in merged.turns] == parts
    assert (new(merged), merged.after) == ([USER], None)


@given(turns(least=1))
def test_a_client_that_sends_everything_gets_exactly_what_it_sends(parts: list[list[Message]]) -> None:
    """Nothing is doubled, and only what is new is stored."""
    messages = [*flat(parts), USER]
    merged = merge(stored(parts), sent(messages))
    assert told(merged, messages) == messages
    assert (new(merged), merged.after) == ([USER], None)


@given(turns(least=1), st.data())
def test_a_client_that_sends_the_last_turns_gets_those_before_them(
    parts: list[list[Message]], data: st.DataObject
) -> None:
    """As clients do that keep a window of the conversation."""
    first = data.draw(st.integers(0, len(parts) - 1))
    messages = [*flat(parts[first:]), USER]
    merged = merge(stored(parts), sent(messages))
    assert told(merged, messages) == [*flat(parts), USER]
    assert (new(merged), merged.after) == ([USER], None)


@given(turns(least=1), st.data())
def test_what_a_client_has_edited_wins(parts: list[list[Message]], data: st.DataObject) -> None:
    """It is given what it sends, wherever it has changed a message."""
    messages = [*flat(parts), USER]
    place = data.draw(st.integers(0, len(messages) - 2))
    messages[place] = {**messages[place], "content": "edited"}
    merged = merge(stored(parts), sent(messages))
    assert told(merged, messages) == messages
    assert new(merged)[-1] == USER


@given(turns(least=2))
def test_another_answer_takes_the_place_of_the_last_one(parts: list[list[Message]]) -> None:
    """A client that keeps the conversation sends it without the answer that it wants anew."""
    messages = flat(parts)[:-1]
    merged = merge(stored(parts), sent(messages))
    assert told(merged, messages) == messages
    assert new(merged) == []
    assert merged.after == (f"request {len(parts) - 1}", len(parts[-1]) - 2)


@given(turns(least=1))
def test_a_question_that_is_asked_anew_takes_its_own_place(parts: list[list[Message]]) -> None:
    """Also the first one, which nothing of a client's can be told from one that is asked twice."""
    question = parts[-1][0]
    merged = merge_anew(stored(parts), sent([question]))
    assert told(merged, [question]) == [*flat(parts[:-1]), question]
    assert new(merged) == [question]
    assert merged.after == (f"request {len(parts) - 1}", -1)
    assert merge_anew([], sent([question])) == merge([], sent([question]))


@given(turns(least=2), st.data())
def test_an_edited_turn_takes_the_place_of_all_that_followed(parts: list[list[Message]], data: st.DataObject) -> None:
    """The conversation goes on from where it was edited."""
    kept = data.draw(st.integers(1, len(parts) - 1))
    messages = [*flat(parts[:kept]), USER]
    merged = merge(stored(parts), sent(messages))
    assert told(merged, messages) == messages
    assert new(merged) == [USER]
    assert merged.after == (f"request {kept - 1}", len(parts[kept - 1]) - 1)


@given(turns())
def test_a_result_goes_on_with_the_turn_that_asked_for_it(parts: list[list[Message]]) -> None:
    """That turn stays whole: it is never left out."""
    open_turn = [user("last"), call("open")]
    merged = merge(stored([*parts, open_turn]), sent([result("open")]))
    assert [each.message for each in merged.begun] == open_turn
    assert told(merged, [result("open")]) == [*flat(parts), *open_turn, result("open")]
    assert new(merged) == [result("open")]


@given(turns(), st.sampled_from(["first", "second"]))
def test_instructions_are_told_once_and_the_clients_own_win(parts: list[list[Message]], text: str) -> None:
    """Stored ones stand where the client sends none; they are stored when they change."""
    begun = [[system("first"), user("hello"), assistant("hi")], *parts]
    merged = merge(stored(begun), sent([USER]))
    assert told(merged, [USER]) == [*flat(begun), USER]
    merged = merge(stored(begun), sent([system(text), USER]))
    assert told(merged, [USER]) == [*flat(begun)[1:], USER]
    assert new(merged) == ([USER] if text == "first" else [system(text), USER])


def unsound(messages: list[Message]) -> list[str]:
    """Return what upstreams would refuse: results without a call, and calls without a result."""
    found, waiting = [], frozenset[str]()
    for message in messages:
        name = result_id(message)
        if name is not None:
            found += [] if name in waiting else [f"the result {name}"]
            waiting -= {name}
            continue
        found += [f"the call {each}" for each in waiting]
        waiting = call_ids(message) if calls_of(message) else frozenset()
    return found + [f"the call {each}" for each in waiting]


MESSAGES: Final = st.lists(
    st.sampled_from(
        [user("a"), user("b"), assistant("c"), call("1"), call("2"), result("1"), result("2"), system("s")]
    ),
    max_size=12,
)


@given(MESSAGES, MESSAGES, st.booleans())
def test_no_history_has_half_a_call_or_half_a_turn(
    kept: list[Message],
    messages: list[Message],
    is_whole: bool,  # noqa: FBT001 -- hypothesis gives it by its place
) -> None:
    """Whatever is stored, and whatever the client sends: also where only the end of a session was read."""
    said = [user("before"), *messages]
    merged = merge(stored([kept]), sent(said), is_whole=is_whole)
    assert not unsound([each.message for turn in merged.turns for each in turn])
    assert all(turn[0].role == "user" for turn in merged.turns[1 if is_whole else 0 :])


@given(st.lists(st.integers(1, 5000), max_size=20), st.integers(0, 20_000), st.integers(1, 20_000))
def test_the_oldest_turns_are_left_out_where_a_context_is_short(tokens: list[int], fixed: int, context: int) -> None:
    """As few as possible, and none where its length is not known."""
    turns = tuple(HistoryTurn(count, msgspec.Raw(b"[%d]" % number)) for number, count in enumerate(tokens))
    history = History(turns=turns, fixed_tokens=fixed, answer_tokens=100)
    kept = history.within(context)
    assert kept.turns == turns[len(turns) - len(kept.turns) :]
    assert not kept.turns or fixed + kept.tokens < context
    longer = turns[len(turns) - len(kept.turns) - 1 :] if len(kept.turns) < len(turns) else ()
    assert not longer or fixed + sum(turn.tokens for turn in longer) > 0.75 * context - 101
    assert history.within(None) == history
    while history.turns:
        shorter = history.shorter()
        assert len(shorter.turns) < len(history.turns)
        history = shorter


def test_calls_count_as_they_were_sent() -> None:
    """What is in their arguments is not read for an estimate: it may be megabytes."""
    short, long = call("a"), call("a")
    long["tool_calls"][0]["function"]["arguments"] = '{"a":' + " " * 4_001 + "1}"
    assert tokens_of(long) - tokens_of(short) == 1_000
