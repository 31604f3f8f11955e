"""workers/providers/http/lines.py."""

from __future__ import annotations

from itertools import combinations_with_replacement

import pytest

from shared.errors import Malformed
from workers.providers.http import lines
from workers.providers.http.lines import LineSplitter


def test_lines_are_the_same_however_the_bytes_are_split() -> None:
    """Neither the number of pieces nor where they part changes the lines."""
    stream = b"one\n\n\r\ntwo" + "ü".encode() + b"\nrest"
    for first, second in combinations_with_replacement(range(len(stream) + 1), 2):
        splitter = LineSplitter()
        pieces = (stream[:first], stream[first:second], stream[second:])
        found = [line for piece in pieces for line in splitter.feed(piece)]
        assert found == [b"one", b"", b"\r", b"two\xc3\xbc"]
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
