"""Reading the stream of an answer, however it is cut."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.chat.events import (
    Counted,
    Ended,
    Event,
    EventReader,
    Failed,
    Piece,
    Served,
    UnreadableAnswer,
    Waiting,
    served_from,
)

texts = st.text(st.characters(codec="utf-8"), min_size=1)


def line(value: Any) -> bytes:
    """Return an event with JSON, as characters and not as escapes."""
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def chunk(**choice: Any) -> bytes:
    """Return a chunk with one choice."""
    return line({"id": "x", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}} | choice]})


def to_wire(event: Event) -> bytes:  # noqa: PLR0911 -- a table
    """Return an event as the gateway sends it."""
    match event:
        case Piece(text, is_thought=False):
            return chunk(delta={"content": text})
        case Piece(text):
            return chunk(delta={"reasoning_content": text})
        case Ended(reason):
            return chunk(finish_reason=reason)
        case Counted(prompt, completion):
            return line({"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": completion}})
        case Failed(message):
            return line({"error": {"message": message, "code": None}})
        case Served(tier, model):
            return f": x-nself-tier={tier}; x-nself-model={model}; x-nself-attempts=1\r\n\r\n".encode()
        case _:
            return b": keep-alive\n\n"


events = st.one_of(
    st.builds(Piece, texts, st.booleans()),
    st.builds(Ended, st.sampled_from(["stop", "length"])),
    st.builds(Counted, st.integers(0, 10**9), st.integers(0, 10**9)),
    st.builds(Failed, texts),
    st.builds(Served, st.sampled_from(["local", "paid"]), st.sampled_from(["qwen3:8b", "a/b"])),
    st.just(Waiting()),
)


@given(st.lists(events), st.lists(st.integers(0, 10_000)))
def test_a_stream_says_the_same_however_it_is_cut(said: list[Event], places: list[int]) -> None:
    """Also within a character, and with line separators that are not line feeds in the texts."""
    stream = b"".join(map(to_wire, said)) + b"data: [DONE]\n\n"
    cuts = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    reader = EventReader()
    read = [event for begin, end in itertools.pairwise(cuts) for event in reader.feed(stream[begin:end])]
    assert (read, reader.is_done) == (said, True)


@given(st.binary())
def test_any_bytes_are_events_or_refused(received: bytes) -> None:
    """With one error, and nothing else."""
    try:
        EventReader().feed(received + b"\n")
    except UnreadableAnswer as error:
        assert str(error)  # noqa: PT017 -- it need not come


@given(st.text())
def test_a_comment_may_say_anything(comment: str) -> None:
    """Who answers only where both names are there."""
    assert served_from(comment) is None or {"x-nself-tier", "x-nself-model"} <= set(comment.replace("=", " ").split())


@pytest.mark.parametrize(
    "odd", [b"data: {}\n", b'data: {"choices":[{}]}\n', b'data: {"choices":[],"usage":null}\n', b"x\n"]
)
def test_what_says_nothing_is_passed_over(odd: bytes) -> None:
    """Chunks without content, and fields of other names."""
    assert EventReader().feed(odd) == []


def test_a_model_s_name_in_a_comment_is_read_as_it_is() -> None:
    """It is escaped where it is more than ASCII."""
    assert served_from("x-nself-tier=local; x-nself-model=%E6%A8%A1%E5%9E%8B; x-nself-attempts=2") == Served(
        "local", "模型"
    )
