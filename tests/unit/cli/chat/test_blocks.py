"""Cutting Markdown into blocks while it comes."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from cli.chat.blocks import BlockSplitter

LINES = [
    *(
        "",
        "# Head",
        "text",
        "more text",
        "- a",
        "  - b",
        "    deep",
        "1. one",
        "2) two",
        "```",
        "```py",
        "> said",
        "---",
    ),
    *("===", "| a | b |", "|---|---|", "| 1 | 2 |", "<div>", "</div>", "[x]: http://y", "~~~", "\ttab", "* * *", "\\"),
]
documents = st.lists(st.sampled_from(LINES) | st.text(st.characters(exclude_characters="\r\n\x00"))).map("\n".join)


def pieces(document: str, cuts: list[int]) -> list[str]:
    """Return the blocks of a document that is fed in pieces, the last among them."""
    splitter = BlockSplitter()
    found = [block for begin, end in itertools.pairwise(cuts) for block in splitter.feed(document[begin:end])]
    return [*found, splitter.end()]


@given(documents, st.lists(st.integers(0, 10_000)))
def test_nothing_is_lost_and_nothing_shown_twice(document: str, places: list[int]) -> None:
    """The blocks together are the document."""
    cuts = sorted({0, len(document), *(place % (len(document) + 1) for place in places)})
    assert "\n".join(pieces(document, cuts)).rstrip("\n") == document.rstrip("\n")


@given(documents)
def test_blocks_do_not_depend_on_how_they_come(document: str) -> None:
    """Character by character or line by line, what is finished is the same."""
    by_character = pieces(document, list(range(len(document) + 1)))
    ends = [place + 1 for place, character in enumerate(document) if character == "\n"]
    assert by_character == pieces(document, [0, *ends, len(document)])


def test_a_block_is_finished_once_the_next_one_has_begun() -> None:
    """And not before: a list may go on behind an empty line, code behind anything."""
    splitter = BlockSplitter()
    assert splitter.feed("# Head\n\n- a\n\n- b\n") == ["# Head\n"]
    assert splitter.feed("\n```\ncode\n") == ["- a\n\n- b\n"]
    assert splitter.feed("# no head\n\n- no list\n") == []
    assert splitter.feed("```\nend") == []
    assert splitter.feed("\n") == ["```\ncode\n# no head\n\n- no list\n```"]
    assert splitter.end() == "end\n"
