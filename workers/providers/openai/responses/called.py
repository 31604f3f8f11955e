"""Tells the calls of an answer of the Responses API apart: by their items' ids, places and calls' ids. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workers.providers.replies.call_arguments import to_text
from workers.providers.replies.tool_calls import Piece, ToolCalls

if TYPE_CHECKING:
    from collections.abc import Collection

    from shared.types import ToolCallDelta
    from workers.providers.openai.responses.shapes import Item

_Key = tuple[str, str | int]


class Calls:
    """The calls of one answer.

    Args:
        names: of the functions that can be called.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._calls = ToolCalls(names=names)
        self._numbers: dict[_Key, int] = {}
        self._with_arguments: set[int] = set()
        self._named: set[int] = set()
        self._with_id: set[int] = set()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def begin(self, item: Item, place: int | None) -> list[ToolCallDelta]:
        """Return what can be handed out of a call that is told of: where it begins, and again as a whole."""
        number = self._find(item.id, place, item.call_id)
        given = "" if number in self._with_arguments else _text(item.arguments)
        if given:
            self._with_arguments.add(number)
        # What it is called by counts once: said otherwise the second time, it would be another call.
        is_named, call_id = number in self._named, None if number in self._with_id else item.call_id
        self._named |= {number} if item.name else set()
        self._with_id |= {number} if item.call_id else set()
        return self._calls.take([Piece(number, call_id, None if is_named else item.name, given)])

    def add(self, arguments: str, item_id: str | None, place: int | None) -> list[ToolCallDelta]:
        """Return what can be handed out with a further piece of a call's arguments."""
        number = self._find(item_id, place, None, is_more=True)
        self._with_arguments.add(number)
        return self._calls.take([Piece(number, arguments=arguments)])

    def end(self, arguments: Any, item_id: str | None, place: int | None) -> list[ToolCallDelta]:
        """Return what can be handed out of a call whose arguments are told as a whole: nothing if they came before."""
        number = self._find(item_id, place, None, is_more=True)
        if number in self._with_arguments or not _text(arguments):
            return []
        return self.add(_text(arguments), item_id, place)

    def rest(self) -> list[ToolCallDelta]:
        """Return the calls whose name never came, or may not be whole."""
        return self._calls.rest()

    def _find(self, item_id: str | None, place: int | None, call_id: str | None, *, is_more: bool = False) -> int:
        """Return the number of a call: one that is known by any of what it is named by, else a new one."""
        keys: list[_Key] = [
            *([("item", item_id)] if item_id else []),
            *([("place", place)] if place is not None else []),
            *([("call", call_id)] if call_id else []),
        ]
        number = next((self._numbers[key] for key in keys if key in self._numbers), None)
        # A piece that names no call goes on with the last one.
        if number is None and is_more and not keys and self._count:
            number = self._count - 1
        if number is None:
            number = self._count
            self._count += 1
        for key in keys:
            self._numbers.setdefault(key, number)
        return number


def _text(arguments: Any) -> str:
    """Return a call's arguments as they are sent; an object is its JSON."""
    return arguments if isinstance(arguments, str) else "" if arguments is None else to_text(arguments)
