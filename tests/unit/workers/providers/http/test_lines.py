"""workers/providers/http/lines.py."""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any

import pytest

from shared.errors import Malformed
from workers.providers.http import lines
from workers.providers.http.lines import EventReader, LineSplitter
from workers.providers.replies.json_reader import read_any

if TYPE_CHECKING:
    from shared.types import Event


def test_lines_are_the_same_however_the_bytes_are_split() -> None:
    """Neither the number of pieces nor where they part changes the lines."""
    stream = b"one\n\n\r\ntwo\r\rthree" + "ü".encode() + b"\r\nrest"
    for first, second in combinations_with_replacement(range(len(stream) + 1), 2):
        splitter = LineSplitter()
        pieces = (stream[:first], stream[first:second], stream[second:])
        found = [line for piece in pieces for line in splitter.feed(piece)]
        assert found == [b"one", b"", b"", b"two", b"", b"three\xc3\xbc"]
        assert splitter.rest() == b"rest"
        assert splitter.rest() == b""


def test_a_line_without_end_is_refused_before_memory_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """An upstream cannot make the gateway hold more than one line of the greatest length."""
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 100)
    splitter = LineSplitter()
    for _ in range(10):
        splitter.feed(b"x" * 10)
    with pytest.raises(Malformed):
        splitter.feed(b"x")


class Recorder(EventReader):
    """Keeps the data of the events, and the body that a reply is."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, Any]] = []

    def take_event(self, name: str, data: bytes, events: list[Event]) -> None:  # noqa: ARG002 -- it makes none
        """See `EventReader.take_event`."""
        self.seen.append((name, read_any(data)))

    def take_whole(self, body: bytes, events: list[Event]) -> None:  # noqa: ARG002 -- it makes none
        """See `EventReader.take_whole`."""
        self.seen.append(("whole", read_any(body)))

    def complete(self, events: list[Event]) -> None:  # noqa: ARG002 -- it makes none
        """End."""
        self.done = True


def _seen(stream: bytes, size: int) -> list[tuple[str, Any]]:
    reader = Recorder()
    for start in range(0, len(stream), size):
        reader.feed(stream[start : start + size])
    reader.end()
    if reader.failure is not None:
        raise reader.failure
    return reader.seen


STREAMS = [
    (b"data: 1\n\ndata:2\n\n", [("", 1), ("", 2)]),
    (b"\xef\xbb\xbfdata: 1\n\n", [("", 1)]),
    (b"\xef\xbb\xbf" * 2000 + b"data: 1\n\n", [("", 1)]),
    (b"data: data: data: 1\n\ndata: 2\n\n", [("", 1), ("", 2)]),
    (b": hello\n:\nid: 7\nretry: 5\nevent: a\ndata: 1\n\ndata: 2\n\n", [("a", 1), ("", 2)]),
    (b'event: a\ndata: {\ndata: "b":\ndata:  1}\n\n', [("a", {"b": 1})]),
    (b"data\ndata: 1\ndata:\n\nevent\nunknown: x\nunknown\n\n", [("", 1)]),
    (b"data: 1\n\ndata: 2", [("", 1), ("", 2)]),
    (b'data: 1\n\ndata: {"cut', [("", 1)]),
    (b'data: {"a":1}\ndata: {"a":2}\n', [("", {"a": 1}), ("", {"a": 2})]),
    (b'{"a":\n\n 1}\n', [("whole", {"a": 1})]),
    (b'\xef\xbb\xbf[\n{"a":1}]', [("whole", {"a": 1})]),
    (b'[{"a":1},\n{"a":"\xc3\xbc"}]\n', [("", {"a": 1}), ("", {"a": "ü"})]),
    (b'{"a":1}\n\n{"a":\n2}{"a":3}\n', [("", {"a": 1}), ("", {"a": 2}), ("", {"a": 3})]),
    (b"data: ping\n\ndata: 1\n\ndata: OK.\n\n", [("", 1)]),
    (b'data: 1\n\n{"error":\n 7}\n\ndata: 2\n\n', [("", 1), ("whole", {"error": 7}), ("", 2)]),
    (b"data: 1\n\n{nonsense\n\ndata: 2\n\n", [("", 1), ("", 2)]),
    (b"", []),
]


@pytest.mark.parametrize(("stream", "seen"), STREAMS, ids=range(len(STREAMS)))
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("size", [1, 2, 1000])
def test_an_event_stream_is_read_as_the_standard_says(
    stream: bytes, seen: list[tuple[str, Any]], line_end: bytes, size: int
) -> None:
    """Whatever its line ends and splits; JSON that stands in it by itself is a body of its own."""
    assert _seen(stream.replace(b"\n", line_end), size) == seen


@pytest.mark.parametrize(
    "stream",
    [
        b"<html>\n:root{}\n</html>",
        b"{",
        b"data: {\n\ndata: 1\n\n",
        b"x" * 70_000 + b"\n",
        b"data: " * 70_000 + b"1\n\n",
        b"data: " + b"x" * 300_000 + b"\n\n",
    ],
    ids=["a page", "half a body", "half an event", "text", "a field's name again and again", "words"],
)
def test_what_is_no_event_stream_is_malformed(stream: bytes) -> None:
    """Neither a page of HTML, nor an event that cannot be read, nor text without end."""
    for size in (1000, len(stream)):
        with pytest.raises(Malformed):
            _seen(stream, size)
