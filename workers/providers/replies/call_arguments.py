"""The arguments of one call as their pieces come, in the ways in which servers send them. Pure."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

EMPTY: Final = "{}"
NONE: Final = frozenset({"", EMPTY, "null", "None", "[]", '""'})
"""Texts that servers send where a call has no arguments."""
_STRUCTURE: Final = re.compile(r'["{}\[\]]')
_IN_STRING: Final = re.compile(r'["\\]')
_BEGINS_NAME: Final = re.compile(r'\{\s*"[^\s:,}\]]')
_BEFORE_VALUE: Final = frozenset(":,[")


def to_text(arguments: Any) -> str:
    """Return a call's arguments, which came as a whole, as the JSON text of an object where they are one.

    Some models, or servers before them, encode them twice.
    """
    if not isinstance(arguments, str):
        return EMPTY if arguments in (None, []) else msgspec.json.encode(arguments).decode()
    if arguments.strip() in NONE:
        return arguments if arguments.strip() == EMPTY else EMPTY
    return _decoded(arguments) if arguments.lstrip().startswith('"') else arguments


def _decoded(text: str) -> str:
    """Return the object that a JSON text is the text of; the text itself where it is none."""
    try:
        decoded = msgspec.json.decode(text, type=str)
        return decoded if isinstance(msgspec.json.decode(decoded), dict) else text
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text


class CallArguments:
    """The arguments of a call so far.

    What stands for no arguments is held back until the end: the real arguments may follow it, and without it a call
    that has none would end with none. So is a text in quotes, which may be the object's, encoded twice.
    """

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._held: list[str] = []
        self._size = self._depth = 0
        self._in_string = self._is_escaped = self._is_quoted = self._is_repeating = False
        self._has_begun = self._was_open = False

    @property
    def text(self) -> str:
        """Return all of them so far."""
        return "".join([*self._parts, *self._held])

    @property
    def have_begun(self) -> bool:
        """Return whether some of them can be handed out."""
        return self._has_begun

    @property
    def are_any(self) -> bool:
        """Return whether anything has come."""
        return self._has_begun or bool(self._held)

    @property
    def are_none(self) -> bool:
        """Return whether what has come says that there are none."""
        return not self._has_begun and self.text.strip() in NONE

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
            return self._begin(piece)
        return self._hand_out(self._new_of(piece))

    def _begin(self, piece: str) -> str:
        if self._is_quoted or not piece.strip():
            self._held += [piece] if piece else ()
            return ""
        before = "".join(self._held)
        whole = piece if before.strip() else before + piece  # what stood for none was only that
        is_none = whole.strip() in NONE
        self._is_quoted = not is_none and whole.lstrip().startswith('"')
        if self._is_quoted or is_none:
            self._held = [whole]
            return ""
        self._has_begun, self._held = True, []
        return self._hand_out(whole)

    def _hand_out(self, piece: str) -> str:
        self._parts.append(piece)
        self._size += len(piece)
        self._follow(piece)
        return piece

    def _new_of(self, piece: str) -> str:
        """Return what is new in a piece: those of some servers repeat all that came before."""
        if len(piece) < self._size or not piece.startswith(self._parts[0]):
            return piece
        text = self.text
        if not piece.startswith(text) or not (self._is_repeating or self._cannot_go_on_with(piece, text)):
            return piece
        self._is_repeating = True
        return piece[self._size :]

    def _cannot_go_on_with(self, piece: str, text: str) -> bool:
        """Return whether the arguments so far would be no JSON with an object's beginning behind them."""
        if self._in_string:  # which the piece's first quotation mark would end
            return _BEGINS_NAME.match(piece) is not None
        return piece.startswith("{") and text.rstrip()[-1] not in _BEFORE_VALUE

    def handed_out(self) -> str:
        """Return what has been, or can be, handed out."""
        return "".join(self._parts)

    def rest(self) -> str:
        """Return what was held back, once nothing more comes."""
        if self._has_begun:
            return ""
        self._has_begun = True
        self._parts = [to_text("".join(self._held))]
        self._held = []
        return self._parts[0]

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
