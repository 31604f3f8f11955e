"""A text in Markdown -> chunks, by its headings. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from markdown_it import MarkdownIt

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_CHARS: Final = 1_000
"""Of a chunk: a few hundred tokens, which an embedding model reads whole."""
MOST_TITLE_CHARS: Final = 200
_SLUG: Final = re.compile(r"[^a-z0-9]+")


class Piece(NamedTuple):
    """A chunk's title, which names the headings that it is under, and its text."""

    title: str
    content: str


def chunked(text: str, name: str) -> list[Piece]:
    """Return the chunks of a text: one for each section, more for a long one, and none without text.

    No word of the text is lost: the contents together have all of it but white space and headings, which stand in the
    titles of what is under them; one with nothing under it is a chunk. NUL is white space: PostgreSQL has none.

    Args:
        text: in Markdown; plain text is that too.
        name: begins each title: of the document.
    """
    return [
        Piece(_title(name, headings), content)
        for headings, section in _sections(text.replace("\0", " ").splitlines())
        for content in _parts(section)
    ]


def slug(text: str, most_chars: int = 60) -> str:
    """Return a text as part of an id: small letters, digits and single hyphens."""
    return _SLUG.sub("-", text.lower())[:most_chars].strip("-") or "text"


def piece_ids(start: str, pieces: list[Piece]) -> list[str]:
    """Return an id for each chunk of a text: by its heading, so that it stays where other sections change."""
    found: dict[str, None] = {}
    numbers: dict[str, int] = {}
    for piece in pieces:
        name = f"{start}-{slug(piece.title.rpartition(' / ')[2])}"
        # From the last one on: all chunks of a long text without headings have one name.
        wanted, number = name, numbers.get(name, 2)
        while wanted in found:
            wanted, number = f"{name}-{number}", number + 1
        numbers[name] = number
        found[wanted] = None
    return list(found)


def _title(name: str, headings: list[str]) -> str:
    return " / ".join([name, *headings])[:MOST_TITLE_CHARS]


def _sections(lines: list[str]) -> Iterator[tuple[list[str], str]]:
    """Yield the headings that each section is under, and its text; a heading with nothing under it is its own."""
    headings: dict[int, str] = {}
    start, last = 0, 0
    for level, first, end, heading in (*_headings(lines), (0, len(lines), len(lines), "")):
        text = "\n".join(lines[start:first])
        if level <= last and not text.strip():
            text = headings.get(last, "")
        yield list(headings.values()), text
        headings = {above: each for above, each in headings.items() if above < level} | {level: heading}
        start, last = end, level


def _headings(lines: list[str]) -> Iterator[tuple[int, int, int, str]]:
    """Yield level, first line, line after and text of each heading; not what looks like one in a block of code."""
    tokens = MarkdownIt("commonmark").disable("inline").parse("\n".join(lines))
    for number, token in enumerate(tokens):
        # Only those of the document itself: one in a quotation or a list is part of that.
        if token.type == "heading_open" and token.level == 0 and token.map is not None:
            yield int(token.tag[1:]), token.map[0], token.map[1], " ".join(tokens[number + 1].content.split())


def _parts(section: str) -> Iterator[str]:
    """Yield a section in parts of at most `LONGEST_CHARS`, cut between paragraphs, else lines, else words."""
    rest = section.strip()
    while len(rest) > LONGEST_CHARS:
        cuts = (rest.rfind(mark, 1, LONGEST_CHARS) for mark in ("\n\n", "\n", " "))
        at = next((cut for cut in cuts if cut > 0), LONGEST_CHARS)
        yield rest[:at].rstrip()
        rest = rest[at:].lstrip()
    if rest:
        yield rest
