"""The arguments of one call as their pieces come, of which some servers send an empty object first. Pure."""

from __future__ import annotations

import re
from typing import Final

EMPTY: Final = "{}"
_STRUCTURE: Final = re.compile(r'["{}\[\]]')
_IN_STRING: Final = re.compile(r'["\\]')


class CallArguments:
    """What a call's arguments are so far.

    An object without fields is held back until the end: the real arguments may follow it, and without it a call that
    has no arguments would end with none.
    """

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._held = ""
        self._depth = 0
        self._in_string = self._is_escaped = False
        self._has_begun = self._was_open = False

    @property
    def text(self) -> str:
        """Return all of them so far."""
        return "".join(self._parts) + self._held

    @property
    def have_begun(self) -> bool:
        """Return whether some of them can be handed out."""
        return self._has_begun

    @property
    def are_any(self) -> bool:
        """Return whether anything has come."""
        return self._has_begun or bool(self._held)

    def are_repeated_by(self, piece: str) -> bool:
        """Return whether a piece says all of them once more, as the last ones of some servers do."""
        return self._are_whole(piece) and piece.strip() == self.text.strip()

    def are_followed_by(self, piece: str) -> bool:
        """Return whether a piece begins an object after theirs, which is that of another call."""
        return self._are_whole(piece) and piece.strip() != self.text.strip()

    def _are_whole(self, piece: str) -> bool:
        return self._was_open and self._depth <= 0 and piece.lstrip().startswith("{")

    def take(self, piece: str) -> str:
        """Return what can be handed out with a further piece."""
        if not self._has_begun:
            is_placeholder = self._held.strip() == EMPTY
            if not piece.strip() or (not is_placeholder and (self._held + piece).strip() == EMPTY):
                self._held += piece
                return ""
            piece = piece if is_placeholder else self._held + piece
            if piece.strip() == EMPTY:
                return ""
            self._has_begun, self._held = True, ""
        self._parts.append(piece)
        self._follow(piece)
        return piece

    def handed_out(self) -> str:
        """Return what has been, or can be, handed out."""
        return "".join(self._parts)

    def rest(self) -> str:
        """Return what was held back, once nothing more comes."""
        if self._has_begun:
            return ""
        self._has_begun = True
        held, self._held = self._held, ""
        self._parts.append(held if held.strip() else EMPTY)
        return self._parts[-1]

    def _follow(self, piece: str) -> None:
        """Count what a piece opens and closes; each is looked at once, however many there are."""
        at, self._is_escaped = int(self._is_escaped), False
        while at < len(piece):
            found = (_IN_STRING if self._in_string else _STRUCTURE).search(piece, at)
            if found is None:
                return
            at = found.end()
            if found[0] == "\\":
                self._is_escaped = at == len(piece)
                at += 1
            elif found[0] == '"':
                self._in_string = not self._in_string
            else:
                self._depth += 1 if found[0] in "{[" else -1
                self._was_open = True
