"""Takes a large JSON reply apart as it arrives, so that no step of reading it holds the event loop for long. Pure."""

from __future__ import annotations

import re
from typing import Final

from shared.errors import Malformed

MOST_BYTES: Final = 2 * 1024 * 1024
"""Of one element, and of all besides: a vector of 50,000 numbers, in all their digits."""
_STRUCTURE: Final = re.compile(rb'["{}\[\]]')
_IN_STRING: Final = re.compile(rb'["\\]')
_OPENING: Final = b"{["
ELEMENT_DEPTH: Final = 2
"""Inside the top-level object and the array: how deep an element begins."""


class ElementSplitter:
    """Cuts the elements out of one array of a top-level object, each of which must be an object or an array.

    Args:
        name: of the array.
    """

    def __init__(self, name: str) -> None:
        self._name = name.encode()
        self._depth = 0
        self._in_string = False
        self._skipped = self._start = 0
        self._key = b""
        self._string: list[bytes] = []
        self._in_array = False
        self._element: list[bytes] = []
        self._rest: list[bytes] = []
        self._size = self._rest_size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the elements that `data` completes.

        Raises:
            Malformed: one of them, or what is beside them, is too long to be decoded at once.
        """
        elements: list[bytes] = []
        at, self._start = self._skipped, 0
        while at < len(data):
            if self._in_string:
                at = self._pass_string(data, at)
                continue
            found = _STRUCTURE.search(data, at)
            at = len(data) if found is None else found.end()
            if found is None:
                break
            if found[0] == b'"':
                self._in_string, self._string = True, []
            elif found[0] in _OPENING:
                self._open(data, at, is_array=found[0] == b"[")
            else:
                self._close(data, at, elements)
        # An escape at the very end: the character behind it comes with the next piece.
        self._skipped = max(0, at - len(data))
        if not self._in_array:
            self._rest.append(data[self._start :])
            self._rest_size += len(self._rest[-1])
        elif self._depth > ELEMENT_DEPTH:
            self._element.append(data[self._start :])
            self._size += len(self._element[-1])
        if max(self._size, self._rest_size) > MOST_BYTES:
            raise Malformed("The model server's answer has a part that is too long.")
        return elements

    def _open(self, data: bytes, at: int, *, is_array: bool) -> None:
        self._depth += 1
        if self._in_array and self._depth == ELEMENT_DEPTH + 1:
            self._start = at - 1
        elif is_array and not self._in_array and self._depth == ELEMENT_DEPTH and self._key == self._name:
            self._rest.append(data[self._start : at])
            self._in_array = True

    def _close(self, data: bytes, at: int, elements: list[bytes]) -> None:
        self._depth -= 1
        if self._in_array and self._depth == ELEMENT_DEPTH:
            self._element.append(data[self._start : at])
            elements.append(b"".join(self._element))
            self._element, self._size = [], 0
        elif self._in_array and self._depth < ELEMENT_DEPTH:
            self._in_array = False
            self._start = at - 1

    def rest(self) -> bytes:
        """Return the object without the elements, once all of it has been fed."""
        return b"".join(self._rest)

    def _pass_string(self, data: bytes, at: int) -> int:
        """Skip to the end of a string, or of `data`; return the position behind it."""
        found = _IN_STRING.search(data, at)
        is_key = self._depth == 1
        if is_key:
            # An escape stays in it: a name with one is not the array's.
            self._string.append(data[at : len(data) if found is None else found.end()])
        if found is None:
            return len(data)
        if found[0] == b"\\":
            # The character behind it is no end, also where it has not arrived yet.
            return found.end() + 1
        self._in_string = False
        if is_key:
            self._key = b"".join(self._string)[:-1]
        return found.end()
