"""workers/providers/openai/plain.py: what is read by what stands around it is what is read by the letter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.types import Delta
from tests.upstreams.mutations import Reply
from tests.upstreams.openai.replies import DONE, chunk, event, usage
from tests.upstreams.recordings import RECORDINGS
from workers.providers.openai.wire import ChatReader

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.types import Event

SAMPLE: Final = 8
TEXTS: Final = ("a", " b", "", "Hé", 'say "x"', "\\", "a\nb", "\t", '{"content":"x"}', "😀", "\x00")


def data(text: str, **fields: Any) -> bytes:
    """Return a chunk as most servers send it."""
    return chunk({"content": text}, **fields)


def raw(text: bytes) -> bytes:
    """Return a chunk whose text is these bytes."""
    return data("@").replace(b'"@"', text)


ODD: Final = [
    *(
        raw(text)
        for text in (b'"\\ud83d"', b'"\xff"', b'"a\tb"', b'"a","content":"b"', b'"a"\n', b" null", b"7", b'["a"]')
    ),
    *(data("x").replace(b"\n\n", end) for end in (b"\n", b"\r\n\r\n", b"\r\n\n", b"\nid: 7\n\n", b"")),
    data("x").replace(b"data:", b"data: data:"),
    data("x").replace(b"{", b"{\r", 1),
    data("x").replace(b"{", b"{\n", 1),
    data("x", logprobs={"content": []}),
    data("x", finish_reason="stop"),
    chunk({"content": "x", "reasoning_content": "y"}),
    chunk({"content": "x", "tool_calls": [{"index": 0, "id": "1", "function": {"name": "f", "arguments": "{"}}]}),
    event({"choices": [{"index": 1, "delta": {"content": "x"}}]}),
    event({"choices": [{"index": 0, "delta": {"content": "x"}}, {"index": 1, "delta": {"content": "x"}}]}),
    event({"choices": [{"index": 0, "delta": {"content": "x"}}], "citations": ["https://a.example"]}),
    event({"choices": [{"index": 0, "delta": {"content": "x"}}], "service_tier": "default"}),
    event(
        {"choices": [{"index": 0, "delta": {"content": "x"}}], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}
    ),
    event({"choices": [{"index": 0, "delta": {"content": "x"}}], "error": {"message": "no"}}),
    event({"choices": [{"index": 0, "message": {"content": "x"}}]}),
    event({"choices": [{"index": 0, "text": "x"}]}),
    chunk(usage=usage(7, 2)),
    chunk(finish_reason="stop"),
    DONE,
    b": comment\n\n",
    b"event: message\n",
    b"\n",
]
PLAIN: Final = [data(text) for text in TEXTS]
THOUGHTS: Final = [
    event({"choices": [{"index": 0, "delta": {"content": None, name: "x"}}]})
    for name in ("reasoning", "reasoning_content")
]


def read(pieces: Iterable[bytes], *, by_the_letter: bool) -> tuple[list[Event], Any, bool]:
    """Return the events of a reply that comes in these pieces, how it failed, and whether it has ended."""
    reader = ChatReader()
    if by_the_letter:
        reader._plain._tries = 0
    events: list[Event] = []
    for piece in pieces:
        events += reader.feed(piece)
        if reader.done or reader.failure is not None:
            break
    else:
        events += reader.end()
    for each in events:
        for call in (isinstance(each, Delta) and each.tool_calls) or ():
            call.id = None  # which is made up where there is none
    return events, repr(reader.failure), reader.done


def same(pieces: list[bytes]) -> None:
    """Check that both ways say the same."""
    assert read(pieces, by_the_letter=False) == read(pieces, by_the_letter=True), pieces


@pytest.mark.parametrize("text", [data("x"), *THOUGHTS])
def test_a_run_of_texts_is_not_read_by_the_letter(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    """Else the other tests of this file would say nothing."""
    pieces = [text, text.replace(b'"x"', b'"y"') + text, text]
    expected = read(pieces, by_the_letter=True)
    reader = ChatReader()
    events = reader.feed(pieces[0])
    monkeypatch.setattr(reader, "take", None)
    events += reader.feed(pieces[1]) + reader.feed(pieces[2])
    assert events == expected[0]


def test_of_many_events_at_once_few_are_read_by_the_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a server sends its answer in one piece: the first two, and what is behind the run."""
    pieces = [chunk({"role": "assistant", "content": ""}) + data("a") * 50 + chunk(finish_reason="stop") + DONE]
    reader = ChatReader()
    lines: list[bytes] = []
    take = reader.take

    def counted(line: bytes, events: list[Event]) -> None:
        lines.append(line)
        take(line, events)

    monkeypatch.setattr(reader, "take", counted)
    assert reader.feed(pieces[0]) == read(pieces, by_the_letter=True)[0]
    assert len(lines) < 10


def test_what_is_never_found_again_is_looked_for_no_more() -> None:
    """As chunks that say when each of them was made."""
    reader = ChatReader()
    for number in range(10):
        reader.feed(event({"choices": [{"index": 0, "delta": {"content": "x"}}], "created": number}))
    assert not reader._plain.is_known


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_whatever_stands_between_texts_is_read_by_the_letter(odd: bytes) -> None:
    """In a piece of its own, before a text, and behind one; and what comes next is as it would be."""
    first, text = data("a"), data("b")
    for end in ([text, text], [text, chunk(finish_reason="stop"), DONE]):
        same([first, odd, *end])
        same([first, text + odd, *end])
        same([first, odd + text, *end])
        same([first, odd, odd, odd + odd, *end])
    same([odd, odd, text])


pieces_of_streams = st.lists(
    st.lists(st.sampled_from([*PLAIN * 4, *THOUGHTS * 4, *ODD]), min_size=1, max_size=12),
    max_size=6,
)


@given(pieces_of_streams, st.integers(0, 400), st.booleans())
def test_any_stream_is_the_same_both_ways(parts: list[list[bytes]], cut: int, is_cut: bool) -> None:  # noqa: FBT001 -- a case
    """However its events come together, and cut anywhere."""
    pieces = [PLAIN[0], *map(b"".join, parts), chunk(finish_reason="stop") + DONE]
    if is_cut:
        whole = b"".join(pieces)
        pieces = [PLAIN[0], whole[:cut], whole[cut:]]
    same(pieces)


def test_every_oddity_is_the_same_both_ways() -> None:
    """Of every recorded exchange, event by event."""
    tried = 0
    for number, recording in enumerate(RECORDINGS):
        if "openai" not in recording.replies:
            continue
        for oddity in list(Reply("openai", recording.replies["openai"]).oddities())[number % SAMPLE :: SAMPLE]:
            tried += 1
            same([part + b"\n\n" for part in oddity.body.split(b"\n\n") if part])
    assert tried > 100
