"""Tells the tool calls of an answer apart, and keeps each of them whole, whatever an upstream numbers them by. Pure."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import msgspec

from shared.types import ToolCallDelta

if TYPE_CHECKING:
    from collections.abc import Iterable


class Piece(msgspec.Struct):
    """A piece of a call as an upstream sends it: each field may be missing, also the first time.

    Args:
        index: the upstream's number of the call.
        id: of the call.
        name: of the tool.
        arguments: what is new of their JSON text.
    """

    index: int | None = None
    id: str | None = None
    name: str | None = None
    arguments: str = ""


class _Call:
    """A call that is under way.

    Attributes:
        number: among the calls of the choice.
        index: the upstream's number of it, or what that would be.
        given_id: the last id that the upstream gave it.
        name: of the tool; it is not handed out before there is one.
        arguments: so far.
    """

    def __init__(self, number: int, index: int | None) -> None:
        self.number = number
        self.index = number if index is None else index
        self.given_id: str | None = None
        self.name: str | None = None
        self.arguments: list[str] = []
        self.is_out = False

    @property
    def is_complete(self) -> bool:
        """Return whether the arguments are a whole JSON value, so that more of them would spoil it."""
        try:
            msgspec.json.decode("".join(self.arguments))
        except (msgspec.DecodeError, RecursionError):
            return False
        return True


class ToolCalls:
    """The tool calls of one choice.

    Args:
        ids: those that calls of the reply have so far; those of this choice are added.
    """

    def __init__(self, ids: set[str] | None = None) -> None:
        self._ids: set[str] = set() if ids is None else ids
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self._by_id: dict[str, _Call] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, name: str, call_id: str | None, arguments: str = "", signature: str | None = None) -> ToolCallDelta:
        """Return the first piece of a call that an upstream sends as one, or that it tells apart by itself.

        Args:
            name: of the tool.
            call_id: the upstream's; another one is made where a call of the reply has it, or there is none.
            arguments: all of them, or what is known yet.
            signature: Gemini's thought signature.
        """
        call = self._begin(None)
        call.name, call.is_out = name, True
        call.arguments.append(arguments)
        return ToolCallDelta(call.number, self._own_id(call_id), name, arguments, signature)

    def take(self, pieces: Iterable[Piece]) -> list[ToolCallDelta]:
        """Return what can be handed out of the calls that these are pieces of."""
        deltas: list[ToolCallDelta] = []
        for piece in pieces:
            call = self._find(piece)
            if call is None:
                call = self._begin(piece.index)
            if piece.id and (call.given_id is None or piece.name or piece.arguments):
                call.given_id = piece.id
                self._by_id[piece.id] = call
            call.name = call.name or piece.name or None
            call.arguments.append(piece.arguments)
            if call.is_out:
                if piece.arguments:
                    deltas.append(ToolCallDelta(call.number, arguments=piece.arguments))
            elif call.name:
                deltas.append(self._hand_out(call))
        return deltas

    def rest(self) -> list[ToolCallDelta]:
        """Return the calls that never got a name."""
        return [self._hand_out(call) for call in self._calls if not call.is_out]

    def _hand_out(self, call: _Call) -> ToolCallDelta:
        call.is_out = True
        return ToolCallDelta(call.number, self._own_id(call.given_id), call.name or "", "".join(call.arguments))

    def _begin(self, index: int | None) -> _Call:
        call = _Call(len(self._calls), index)
        self._calls.append(call)
        self._by_index[call.index] = call
        return call

    def _own_id(self, given: str | None) -> str:
        # An id that came before would let clients put two results in one place.
        call_id = given if given and given not in self._ids else f"call_{secrets.token_hex(12)}"
        self._ids.add(call_id)
        return call_id

    def _find(self, piece: Piece) -> _Call | None:
        """Return the call that a piece belongs to; None if it begins one."""
        numbered = None if piece.index is None else self._by_index.get(piece.index)
        named = self._by_id.get(piece.id) if piece.id else None
        if numbered is not None:
            # Several calls may have one index: then the id says which of them.
            call = named if named is not None and named.index == piece.index else numbered
        elif piece.index is not None or not self._calls:
            return None
        elif named is not None:
            call = named
        else:
            # Without index and known id it can only go on with the call that came last.
            call = self._calls[-1]
            if piece.id and piece.name and call.name:
                return None
        return None if _begins_another(piece, call) else call


def _begins_another(piece: Piece, call: _Call) -> bool:
    """Return whether a piece cannot be one of a call whose index or id it has, or which was the last.

    Some servers give every call the index 0, or one id, and some give every piece a new id: so another id alone
    says nothing, but another name does, and so does what comes after arguments that are whole.
    """
    has_other_id = bool(piece.id and call.given_id and piece.id != call.given_id)
    is_named_again = bool(piece.name and call.name)
    if is_named_again and piece.name != call.name:
        return True
    if not (is_named_again and has_other_id) and not piece.arguments.strip():
        return False
    return (is_named_again or has_other_id) and call.is_complete
