"""Tells the tool calls of an answer apart, and keeps each of them whole, whatever an upstream numbers them by. Pure."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any, Final

import msgspec

from shared.errors import Malformed
from shared.types import ToolCallDelta
from workers.providers.replies.call_arguments import NONE, CallArguments

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

MOST_CALLS: Final = 2048
"""In one choice. No model writes as many, and what is made of them at an answer's end is made in one step."""
_PLACE: Final = re.compile(r"^.*[.:/]", re.DOTALL)
_NULLS: Final = frozenset({"null", "None", "undefined", "nil"})
"""Texts of some servers and proxies for no name and no id, in the pieces behind the first (BerriAI/litellm#12513)."""


class Piece(msgspec.Struct):
    """A piece of a call as an upstream sends it: each field may be missing, also the first time.

    Args:
        index: the upstream's number of the call.
        id: of the call.
        name: of the tool.
        arguments: what is new of their JSON text.
        extra_content: what the client is to send back with it.
    """

    index: int | None = None
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    extra_content: dict[str, Any] | None = None

    @property
    def is_empty(self) -> bool:
        """Return whether it says nothing, not even that there will be a call."""
        return self.index is None and not (self.id or self.name or self.arguments or self.extra_content)

    @property
    def is_call(self) -> bool:
        """Return whether it can be a whole call."""
        return bool(self.name) or self.arguments.strip() not in NONE


class _Call:
    """A call that is under way.

    Attributes:
        number: among the calls of the choice.
        index: the upstream's number of it, or what that would be.
        given_id: the last id that the upstream gave it.
        name: of the tool; it is not handed out before there is one.
        arguments: so far.
        is_out: whether its beginning has been handed out.
        is_ended: whether all of it has.
    """

    def __init__(self, number: int, index: int | None) -> None:
        self.number = number
        self.index = number if index is None else index
        self.given_id: str | None = None
        self.name: str | None = None
        self.arguments = CallArguments()
        self.extra_content: dict[str, Any] | None = None
        self.is_out = self.is_ended = False

    @property
    def has_arguments(self) -> bool:
        """Return whether anything of its arguments has come, after which its name is whole."""
        return self.arguments.are_any

    @property
    def is_none(self) -> bool:
        """Return whether it has no more than an id: some servers put such a call into answers without any."""
        return not self.name and self.arguments.are_none

    @property
    def is_complete(self) -> bool:
        """Return whether the arguments are a whole JSON value, so that more of them would spoil it."""
        try:
            msgspec.json.decode(self.arguments.text)
        except (msgspec.DecodeError, RecursionError):
            return False
        return True


class ToolCalls:
    """The tool calls of one choice.

    Args:
        ids: those that calls of the reply have so far; those of this choice are added.
        names: of the tools that can be called; a name that may be the beginning of one is not handed out before it is
            whole. Without them each name is taken to come as a whole.
    """

    def __init__(self, ids: set[str] | None = None, names: Collection[str] = ()) -> None:
        self._ids: set[str] = set() if ids is None else ids
        self._names = names
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self._by_id: dict[str, _Call] = {}

    def __len__(self) -> int:
        return sum(not call.is_none for call in self._calls)

    def add(
        self, name: str, call_id: str | None, arguments: str = "", extra_content: dict[str, Any] | None = None
    ) -> ToolCallDelta:
        """Return the first piece of a call that an upstream sends as one, or that it tells apart by itself.

        Args:
            name: of the tool.
            call_id: the upstream's; another one is made where a call of the reply has it, or there is none.
            arguments: all of them, or what is known yet.
            extra_content: what the client is to send back with it.
        """
        call = self._begin(None)
        call.name, call.is_out, call.is_ended = self._known(name), True, True
        return ToolCallDelta(call.number, self._own_id(call_id), call.name, arguments, extra_content)

    def more(self, number: int, arguments: str) -> ToolCallDelta:
        """Return a further piece of the arguments of a call that `add` began."""
        return ToolCallDelta(number, arguments=arguments)

    def take(self, pieces: Iterable[Piece]) -> list[ToolCallDelta]:
        """Return what can be handed out of the calls that these are pieces of."""
        deltas: list[ToolCallDelta] = []
        for given in pieces:
            piece = self._without_nulls(given)
            if piece.is_empty:
                continue
            call = self._find(piece)
            if call is None:
                call = self._begin(piece.index)
            elif not piece.name and call.arguments.are_repeated_by(piece.arguments):
                continue
            if piece.id and (call.given_id is None or piece.name or piece.arguments):
                call.given_id = piece.id
                self._by_id[piece.id] = call
            call.name = self._name_after(call, piece.name) or None
            arguments = call.arguments.take(piece.arguments)
            if call.is_out:
                if arguments or piece.extra_content is not None:
                    deltas.append(ToolCallDelta(call.number, None, None, arguments, piece.extra_content))
                continue
            call.extra_content = piece.extra_content or call.extra_content
            if call.name and (call.has_arguments or not self._may_go_on(call.name)):
                deltas.append(self._hand_out(call))
        return deltas

    def _without_nulls(self, piece: Piece) -> Piece:
        """Return a piece without a name or an id that is only the word for none, and no tool's name."""
        if piece.name in _NULLS and piece.name not in self._names:
            piece.name = None
        if piece.id in _NULLS:
            piece.id = None
        return piece

    def _name_after(self, call: _Call, piece: str | None) -> str | None:
        """Return a call's name with a further piece of it: some models send it in pieces, others again and again."""
        if call.is_out or not piece or not call.name or call.has_arguments:
            return call.name or piece
        return self._joined(call.name, piece) or call.name

    def _joined(self, name: str, piece: str) -> str | None:
        """Return the name, or the beginning of one, that two pieces make together; None if they make none."""
        if any(known.startswith(name + piece) for known in self._names):
            return name + piece
        return piece if piece.startswith(name) else None

    def _may_go_on(self, name: str) -> bool:
        """Return whether a name may be the beginning of a longer one."""
        return any(known.startswith(name) and known != name for known in self._names)

    def _known(self, name: str) -> str:
        """Return the tool that a name is of, where there is none of that name.

        vLLM leaves a token of gpt-oss behind it (`name<|channel|>commentary`), and models put the place of all tools
        before it (`functions.name`, `default_api.name`).
        """
        if name in self._names:
            return name
        bare = name.partition("<|")[0].strip()
        return next((each for each in (bare, _PLACE.sub("", bare)) if each in self._names), name)

    def rest(self) -> list[ToolCallDelta]:
        """Return what was held back: calls whose name never came, or may not be whole, and arguments without fields.

        A call without a name comes of a server that sends the arguments of several under one name, or is of the only
        tool.
        """
        deltas: list[ToolCallDelta] = []
        name = next(iter(self._names)) if len(self._names) == 1 else None
        for call in self._calls:
            if call.is_ended or call.is_none:
                name = call.name or name
                continue
            name = call.name = call.name or name
            begun = None if call.is_out else self._hand_out(call)
            call.is_ended, arguments = True, call.arguments.rest()
            if begun is not None:
                deltas.append(msgspec.structs.replace(begun, arguments=begun.arguments + arguments))
            elif arguments:
                deltas.append(ToolCallDelta(call.number, None, None, arguments))
        return deltas

    def _hand_out(self, call: _Call) -> ToolCallDelta:
        call.is_out = True
        call_id, arguments = self._own_id(call.given_id), call.arguments.handed_out()
        return ToolCallDelta(call.number, call_id, self._known(call.name or ""), arguments, call.extra_content)

    def _begin(self, index: int | None) -> _Call:
        if len(self._calls) >= MOST_CALLS:
            raise Malformed(f"The model server's answer calls tools more than {MOST_CALLS:,} times.")
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
        return None if self._begins_another(piece, call) else call

    def _begins_another(self, piece: Piece, call: _Call) -> bool:
        """Return whether a piece cannot be one of a call whose index or id it has, or which was the last.

        Some servers give every call the index 0, or one id, and some give every piece a new id: so another id alone
        says nothing, but another name does, unless it goes on with the first one, and so does an object after
        arguments that are whole.
        """
        has_other_id = bool(piece.id and call.given_id and piece.id != call.given_id)
        is_named_again = bool(piece.name and call.name)
        if piece.name and call.name and piece.name != call.name:
            return call.is_out or call.has_arguments or self._joined(call.name, piece.name) is None
        if not (is_named_again and has_other_id) and not piece.arguments.strip():
            return False
        if is_named_again or has_other_id:
            return call.is_complete
        return call.arguments.are_followed_by(piece.arguments)
