"""Chat messages as the input items of OpenAI's Responses API. Pure.

Source of the shapes: OpenAI's OpenAPI document, schemas InputItem, FunctionToolCall, FunctionCallOutputItemParam and
ReasoningItem. Items of ours have no ids: those name what OpenAI has stored, and nothing is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from workers.providers.openai.responses.turns import arranged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.providers.openai.responses.turns import Piece

_BREAKPOINT: Final = "prompt_cache_breakpoint"


class Items:
    """The items of a request.

    Attributes:
        items: as they are sent.
        places: where each stands in the client's messages, in OpenAI's notation.
        has_thoughts: whether thoughts of earlier turns are among them.
    """

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self.places: list[str] = []
        self.has_thoughts = False

    def add(self, item: dict[str, Any], place: str) -> None:
        """Append an item."""
        self.items.append(item)
        self.places.append(place)


def to_items(messages: list[dict[str, Any]], thoughts: Mapping[int, list[Piece]]) -> Items:
    """Return the items of messages whose form has been checked.

    Args:
        messages: of a request.
        thoughts: what is kept of earlier turns, by the message's number.
    """
    made = Items()
    custom: set[str] = set()
    for number, message in enumerate(messages):
        place = f"messages[{number}]"
        if message["role"] == "assistant":
            _add_turn(message, place, thoughts.get(number, []), made)
            custom |= {call["id"] for call in message.get("tool_calls") or () if call["type"] == "custom"}
        elif message["role"] == "tool":
            kind = "custom_tool_call_output" if message["tool_call_id"] in custom else "function_call_output"
            output = _to_content(message["content"])
            made.add({"type": kind, "call_id": message["tool_call_id"], "output": output}, place)
        else:
            made.add({"role": message["role"], "content": _to_content(message["content"])}, place)
    return made


def _add_turn(message: dict[str, Any], place: str, kept: list[Piece], made: Items) -> None:
    text = message_text(message)
    turn = [({"role": "assistant", "content": text}, place)] if text else []
    calls = [
        (_to_call(call), f"{place}.tool_calls[{index}]") for index, call in enumerate(message.get("tool_calls") or ())
    ]
    for item, where in arranged(kept, turn, calls, place):
        made.has_thoughts = made.has_thoughts or item.get("type") == "reasoning"
        made.add(item, where)


def message_text(message: dict[str, Any]) -> str:
    """Return what the assistant said, or refused to say: as one text, whatever parts it has."""
    content = message.get("content") or ""
    if not isinstance(content, str):
        content = "".join(part.get("text") or part.get("refusal") or "" for part in content)
    return content or message.get("refusal") or ""


def _to_call(call: dict[str, Any]) -> dict[str, Any]:
    if call["type"] == "custom":
        return {"type": "custom_tool_call", "call_id": call["id"], **call["custom"]}
    function = call["function"]
    return {
        "type": "function_call",
        "call_id": call["id"],
        "name": function["name"],
        "arguments": function["arguments"],
    }


def _to_content(content: Any) -> Any:
    return content if isinstance(content, str) else [_to_part(part) for part in content]


def _to_part(part: dict[str, Any]) -> dict[str, Any]:
    # Claude's mark of what is to be cached has no place here.
    marks = {_BREAKPOINT: part[_BREAKPOINT]} if part.get(_BREAKPOINT) is not None else {}
    if part["type"] == "image_url":
        image = part["image_url"]
        return {"type": "input_image", "image_url": image["url"], "detail": image.get("detail") or "auto", **marks}
    if part["type"] == "file":
        return {"type": "input_file", **part["file"], **marks}
    return {"type": "input_text", "text": part["text"], **marks}
