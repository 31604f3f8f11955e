"""Markdown that comes in pieces: which of its blocks are finished, so that they can be shown for good."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from markdown_it import MarkdownIt

_blocks: Final = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["inline", "html_block"])
"""Finds blocks alone: what is in them does not matter here."""


class BlockSplitter:
    """Cuts a text into its top-level blocks, each once it cannot go on: when the next one has begun."""

    def __init__(self) -> None:
        self.rest = ""
        """Text that may still go on."""

    def feed(self, text: str) -> list[str]:
        """Return the blocks that are finished now."""
        self.rest += text
        # Of an unfinished line it is not known what it becomes: `2` may be the next point of a list.
        whole, line_end, partial = self.rest.rpartition("\n")
        if not line_end:
            return []
        lines = whole.split("\n")
        starts = _starts(whole)
        cuts = [0, *starts[1:], len(lines)]
        found = ["\n".join(lines[begin:end]) for begin, end in pairwise(cuts)]
        if len(found) > 1:
            self.rest = f"{found[-1]}\n{partial}"
        return found[:-1]

    def end(self) -> str:
        """Return the last block."""
        rest, self.rest = self.rest, ""
        return rest


def _starts(text: str) -> list[int]:
    """Return the numbers of the lines at which a top-level block begins."""
    return [token.map[0] for token in _blocks.parse(text) if token.level == 0 and token.map and token.nesting >= 0]
