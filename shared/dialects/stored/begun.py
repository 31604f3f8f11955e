"""Items of an answer that broke off while they came, as far as their events say. Pure.

Source of the shapes: OpenAI's OpenAPI document, schema ResponseStreamEvent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

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
"""Where pieces of text belong: the list of the item, and the field of its part, or of the item itself."""
_KINDS: Final = frozenset({"message", "reasoning", "function_call", "custom_tool_call"})
"""Items that have a meaning where they are not whole."""


def begun_items(events: Iterable[tuple[str, bytes]]) -> list[dict[str, Any]]:
    """Return the items that begin in these events, with what has come of them; what cannot be read is left out.

    Args:
        events: kinds and data, none after the end of such an item.
    """
    items: dict[Any, dict[str, Any]] = {}
    for kind, data in events:
        if kind != "response.output_item.added" and kind not in _PARTS and kind not in _PIECES:
            continue
        event = msgspec.json.decode(data)
        if not isinstance(event, dict) or not isinstance(place := event.get("output_index", 0), int):
            continue
        given = event.get("item")
        if kind != "response.output_item.added":
            if place in items:
                _add(items[place], kind, event)
        elif isinstance(given, dict) and given.get("type") in tuple(_KINDS):
            items[place] = {**given, "status": "incomplete"} if "status" in given else dict(given)
    return list(items.values())


def _add(item: dict[str, Any], kind: str, event: dict[str, Any]) -> None:
    if (name := _PARTS.get(kind)) is not None:
        if isinstance(part := event.get("part"), dict):
            item[name] = [*_parts(item, name), dict(part)]
        return
    name, field = _PIECES[kind]
    place = item
    if name:
        parts = _parts(item, name)
        if not parts:
            return
        place = parts[-1]
    before, piece = place.get(field), event.get("delta")
    if isinstance(piece, str) and isinstance(before, str | None):
        place[field] = (before or "") + piece


def _parts(item: dict[str, Any], name: str) -> list[Any]:
    found = item.get(name)
    return found if isinstance(found, list) else []
