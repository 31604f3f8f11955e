"""An answer on a terminal breaks between words, however its pieces come."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from cli.word_wrap import WordWrap

_WORDS = st.lists(st.text("abc", min_size=1, max_size=9), max_size=60)


def shown(text: str, cuts: list[int], width: int) -> str:
    """Return what a terminal shows of a text that comes in pieces."""
    wrap = WordWrap(width)
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    pieces = [text[start:end] for start, end in itertools.pairwise(places)]
    return "".join(wrap.feed(piece) for piece in pieces) + wrap.end()


@given(words=_WORDS, cuts=st.lists(st.integers(0, 400)), width=st.integers(10, 120))
def test_lines_fit_and_words_are_whole(words: list[str], cuts: list[int], width: int) -> None:
    """A token may end in the middle of a word."""
    text = shown(" ".join(words), cuts, width)
    assert text.split() == words
    assert max(map(len, text.splitlines()), default=0) <= width


@given(words=_WORDS, cuts=st.lists(st.integers(0, 400)))
def test_without_a_terminal_nothing_is_changed(words: list[str], cuts: list[int]) -> None:
    """A file gets what the model said."""
    assert shown(" \n ".join(words), cuts, 0) == " \n ".join(words)
