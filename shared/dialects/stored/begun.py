"""Items of an answer that broke off while they came, as far as their events say. Pure.

Source of the shapes: OpenAI's OpenAPI document, schema ResponseStreamEvent.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

_ADDED: Final = "response.output_item.added"
_PARTS: Final = {
    "response.content_part.added": "content",
    "response.reasoning_summary_part.added": "summary",
}
_PIECES: Final = {
    "response.output_text.delta": ("content", "text"),
    "response.refusal.delta": ("content", "refusal"),
    "response.reasoning_text.delta": ("content", "text"),
    "response.reasoning_summary_text.delta": ("summary", "text"),
    "response.function_call_arguments.delta": ("", "arguments"),
    "response.custom_tool_call_input.delta": ("", "input"),
}
"""Places of pieces of text: the list of the item, and the field of its part, or of the item itself."""
_KINDS: Final = ("message", "reasoning", "function_call", "custom_tool_call")
"""Items that have a meaning where they are not whole."""


class BegunItems:
    """The items that have begun and are not whole. What comes is only read where somebody asks for them."""

    def __init__(self) -> None:
        self._waiting: list[tuple[str, bytes]] = []
        self._items: dict[int, _Begun] = {}

    def take(self, kind: str, data: bytes) -> None:
        if kind == _ADDED or kind in _PARTS or kind in _PIECES:
            self._waiting.append((kind, data))

    def clear(self) -> None:
        """Forget them: what has begun is whole."""
        self._waiting.clear()
        self._items.clear()

    def items(self) -> list[dict[str, Any]]:
        """Return the items, with what has come of them; what cannot be read is left out."""
        waiting, self._waiting = self._waiting, []
        for kind, data in waiting:
            event = msgspec.json.decode(data)
            if isinstance(event, dict) and isinstance(place := event.get("output_index", 0), int):
                self._read(kind, place, event)
        return [begun.to_item() for begun in self._items.values()]

    def _read(self, kind: str, place: int, event: dict[str, Any]) -> None:
        given = event.get("item")
        if kind == _ADDED and isinstance(given, dict) and given.get("type") in _KINDS:
            self._items[place] = _Begun(given)
        elif kind in _PARTS and place in self._items:
            self._items[place].add_part(_PARTS[kind], event.get("part"))
        elif kind in _PIECES and place in self._items:
            self._items[place].add_piece(*_PIECES[kind], event.get("delta"))


class _Begun:
    """An item as it grows: its texts are pieces."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._item = {**given, "status": "incomplete"} if "status" in given else given
        self._parts: dict[str, list[dict[str, Any]]] = {}
        self._texts: dict[tuple[str, int, str], list[str]] = {}

    def add_part(self, name: str, part: Any) -> None:
        if isinstance(part, dict):
            self._parts.setdefault(name, []).append(part)

    def add_piece(self, name: str, field: str, piece: Any) -> None:
        place = len(self._parts.get(name, ())) - 1
        if isinstance(piece, str) and (place >= 0 or not name):
            self._texts.setdefault((name, place, field), []).append(piece)

    def to_item(self) -> dict[str, Any]:
        item = {**self._item, **{name: [dict(part) for part in parts] for name, parts in self._parts.items()}}
        for (name, place, field), pieces in self._texts.items():
            (item[name][place] if name else item)[field] = "".join(pieces)
        return item
