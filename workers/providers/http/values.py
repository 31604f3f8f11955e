"""Counts the values of an upstream's JSON as it arrives: their number, not their bytes, is what decoding costs. Pure.

`shared/process/json_values.py` says why, and does it for what clients send.
"""

from __future__ import annotations

import re
from typing import Final

from shared.errors import Malformed
from shared.process.json_values import MOST_VALUES, has_more_values

COUNTED_BYTES: Final = 64 * 1024
"""Smaller data is not counted: it cannot have enough values."""
_MARKS: Final = (b",", b"[", b"{")
# Possessive, so that no match remembers where it could have ended.
_WHOLE_TEXT: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_IN_TEXT: Final = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)


class ValueCount:
    """The values of one JSON text that comes in pieces, cut anywhere.

    Attributes:
        count: how many came so far.
    """

    def __init__(self) -> None:
        self.count = 0
        self._in_text = self._is_escaped = False

    def add(self, data: bytes) -> None:
        """Count those of the next piece.

        Raises:
            Malformed: there are more than `MOST_VALUES`.
        """
        at = self._end_of_text(data, 0) if self._in_text else 0
        bare, texts = _WHOLE_TEXT.subn(b"", data[at:] if at else data)
        begin = bare.find(b'"')
        if begin >= 0:
            self._in_text = True
            self._end_of_text(bare, begin + 1)
            bare = bare[:begin]
        # In JSON each text is a value or the name of one; what has more of them is none.
        self.add_counted(max(sum(map(bare.count, _MARKS)), texts // 2))

    def add_counted(self, count: int) -> None:
        """Add those of a piece that were counted elsewhere.

        Raises:
            Malformed: there are more than `MOST_VALUES`.
        """
        self.count += count
        if self.count > MOST_VALUES:
            raise _too_many()

    def _end_of_text(self, data: bytes, at: int) -> int:
        """Return the position behind the text that `data` goes on with; it may not end there."""
        if self._is_escaped and data:
            self._is_escaped = False
            at += 1
        found = _IN_TEXT.match(data, min(at, len(data)))
        end = len(data) if found is None else found.end()
        self._in_text = end >= len(data) or data[end : end + 1] != b'"'
        self._is_escaped = end < len(data) and self._in_text
        return len(data) if self._in_text else end + 1


async def checked(body: bytes) -> bytes:
    """Return a whole reply, if it can be decoded without holding the event loop.

    Raises:
        Malformed: it has more than `MOST_VALUES` values.
    """
    if len(body) > COUNTED_BYTES and await has_more_values(body):
        raise _too_many()
    return body


def _too_many() -> Malformed:
    return Malformed(f"The model server's answer has more than {MOST_VALUES} JSON values.")
