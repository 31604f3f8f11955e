"""Texts are cut at their headings, and lose nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from api.prompt.knowledge.chunking import LONGEST_CHARS, MOST_TITLE_CHARS, Piece, chunked, piece_ids, slug

DOCUMENT = """Before all.

# Install

First.

```sh
# not a heading
```

## On Linux

Second.

Windows
-------

> # quoted

Third.

# Use

Fourth.
"""


def test_each_section_is_a_chunk_under_its_headings() -> None:
    """Comments in code and headings in quotations are text; both forms of headings count."""
    assert chunked(DOCUMENT, "Guide") == [
        Piece("Guide", "Before all."),
        Piece("Guide / Install", "First.\n\n```sh\n# not a heading\n```"),
        Piece("Guide / Install / On Linux", "Second."),
        Piece("Guide / Install / Windows", "> # quoted\n\nThird."),
        Piece("Guide / Use", "Fourth."),
    ]


def test_a_heading_with_nothing_under_it_is_a_chunk() -> None:
    """It would be in no title: that of a list of facts may be all that there is."""
    assert chunked("# All\n## Closed on Mondays\n## Hours\n9 to 5\n# Fin", "Shop") == [
        Piece("Shop / All / Closed on Mondays", "Closed on Mondays"),
        Piece("Shop / All / Hours", "9 to 5"),
        Piece("Shop / Fin", "Fin"),
    ]
    assert chunked("Alone\n=", "Shop") == [Piece("Shop / Alone", "Alone")]
    assert chunked("#\n\n", "Shop") == chunked(" \n", "Shop") == []


def test_a_long_section_is_cut_between_paragraphs() -> None:
    """None of its parts is longer than a chunk may be."""
    paragraphs = [f"{number} " + "word " * 100 for number in range(20)]
    pieces = chunked("# Long\n\n" + "\n\n".join(paragraphs), "Guide")
    assert len(pieces) > 4
    assert all(piece.content[0].isdigit() for piece in pieces)


texts = st.lists(
    st.one_of(st.text(max_size=50), st.just("# Heading"), st.just("```"), st.just("---"), st.text(min_size=3_000)),
    max_size=30,
).map("\n".join)


@given(texts)
def test_no_word_is_lost_and_no_chunk_is_too_long(text: str) -> None:
    """Whatever the text is: the words of contents and titles are those of the text."""
    pieces = chunked(text, "x")
    assert all(0 < len(piece.content) <= LONGEST_CHARS and len(piece.title) <= MOST_TITLE_CHARS for piece in pieces)
    kept = "".join("".join(piece.content.split()) for piece in pieces)
    characters = iter("".join(text.split()))
    # In their order, and nothing that was not there.
    assert all(character in characters for character in kept)
    plain = "".join(character for character in text if character.isalnum())
    if not any(mark in text for mark in ("#", "---", "===", "\x00")):
        assert "".join(character for character in kept if character.isalnum()) == plain


@given(st.lists(st.builds(Piece, st.text(max_size=30), st.just("text")), max_size=50))
def test_ids_are_slugs_and_differ(pieces: list[Piece]) -> None:
    """Also where two sections have one heading."""
    ids = piece_ids("start", pieces)
    assert len(set(ids)) == len(ids) == len(pieces)
    assert all(each == slug(each, 200) for each in ids)


def test_the_chunks_of_a_long_text_without_headings_are_numbered() -> None:
    """As many as a document may have, each from where the one before has ended."""
    ids = piece_ids("start", [Piece("Long", "text"), Piece("Long 2", "text"), *[Piece("Long", "text")] * 9_998])
    assert ids[:4] == ["start-long", "start-long-2", "start-long-3", "start-long-4"]
    assert ids[-1] == "start-long-10000"
