"""An answer that comes in pieces, on a terminal: lines break between words, not within them."""

from __future__ import annotations

import re
from typing import Final

_SPACE: Final = re.compile(r"(\s+)")


class WordWrap:
    """Breaks lines where a word would not fit any more.

    Args:
        width: of the terminal; 0 for no bound.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._column = 0
        self._word = ""

    def feed(self, text: str) -> str:
        """Return what can be shown now: all but a word that may go on."""
        *whole, self._word = _SPACE.split(self._word + text)
        return "".join(map(self._placed, whole))

    def end(self) -> str:
        """Return what is left."""
        word, self._word = self._word, ""
        return self._placed(word)

    def _placed(self, part: str) -> str:
        if "\n" in part:
            self._column = len(part.rpartition("\n")[2])
            return part
        if self._width and self._column and self._column + len(part) > self._width:
            self._column = 0 if part.isspace() else len(part)
            # The line ends here instead of with a space.
            return "\n" if part.isspace() else "\n" + part
        self._column += len(part)
        return part
