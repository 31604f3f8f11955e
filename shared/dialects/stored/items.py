"""The items of a stored response: with ids, and in one form. Pure.

Source of the shapes: OpenAI's OpenAPI document, schemas InputItem and ItemResource.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PREFIXES: Final = {
    "additional_tools": "at",
    "apply_patch_call": "apc",
    "apply_patch_call_output": "apco",
    "code_interpreter_call": "ci",
    "compaction": "cmp",
    "compaction_trigger": "cmpt",
    "computer_call": "cu",
    "computer_call_output": "cuo",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "file_search_call": "fs",
    "function_call": "fc",
    "function_call_output": "fco",
    "image_generation_call": "ig",
    "local_shell_call": "lsh",
    "local_shell_call_output": "lsho",
    "mcp_approval_request": "mcpr",
    "mcp_approval_response": "mcpa",
    "mcp_call": "mcp",
    "mcp_list_tools": "mcpl",
    "message": "msg",
    "program": "prg",
    "program_output": "prgo",
    "reasoning": "rs",
    "shell_call": "sh",
    "shell_call_output": "sho",
    "tool_search_call": "tsc",
    "tool_search_output": "tso",
    "web_search_call": "ws",
}
"""With what ids begin, as OpenAI's do; those that are made here go to no upstream."""
MOST_ID_CHARS: Final = 256
"""Of an item's id that a client made; a longer one is replaced."""
_WITH_STATUS: Final = frozenset({
    "apply_patch_call", "apply_patch_call_output", "code_interpreter_call", "computer_call", "computer_call_output",
    "custom_tool_call", "custom_tool_call_output", "file_search_call", "function_call", "function_call_output",
    "image_generation_call", "local_shell_call", "message", "shell_call", "shell_call_output", "tool_search_call",
    "tool_search_output", "web_search_call",
})  # fmt: skip
"""Items that say in lists how far they are."""
_IN_PARTS: Final[dict[str, dict[str, Any]]] = {
    "input_image": {"detail": "auto"},
    "output_text": {"annotations": [], "logprobs": []},
}
"""Fields that parts have in lists, with their defaults."""
_MADE_HERE: Final = re.compile(r"[a-z]{2,5}_[0-9a-f]{32}i[0-9a-f]{4,8}")
_TEXT_TYPES: Final = {"assistant": "output_text"}


def listed(given: str | Sequence[dict[str, Any]], owner: str, first: int = 0) -> list[dict[str, Any]]:
    """Return items as they are stored: each with an id and a type, the contents of messages as lists.

    Args:
        given: items of a request, or its text.
        owner: hex digits of the request or the conversation that they belong to; ids are made of them.
        first: the number of the first one there.
    """
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    return [_listed(item, owner, first + number) for number, item in enumerate(items)]


def _listed(item: dict[str, Any], owner: str, number: int) -> dict[str, Any]:
    kind = item.get("type") or "message"
    name = item.get("id")
    if not isinstance(name, str) or not 0 < len(name) <= MOST_ID_CHARS or "\x00" in name:
        # Before the numbers of outputs: an item of an input is none of those.
        name = f"{_PREFIXES.get(kind, 'item')}_{owner}i{number:04x}"
    found = {**item, "id": name, "type": kind}
    if kind != "message":
        return found
    found.setdefault("status", "completed")
    content = item.get("content")
    if isinstance(content, str):
        part: dict[str, Any] = {"type": _TEXT_TYPES.get(str(item.get("role")), "input_text"), "text": content}
        found["content"] = [part | {"annotations": []} if part["type"] == "output_text" else part]
    return found


def as_listed(item: dict[str, Any]) -> dict[str, Any]:
    """Return a stored item as lists of items have it: with what requests may leave out, and OpenAI's lists have."""
    kind = item.get("type")
    found = {name: value for name, value in item.items() if value is not None}
    if kind in _WITH_STATUS:
        found.setdefault("status", "completed")
    text_type = _TEXT_TYPES.get(str(item.get("role")))
    for name in ("content", "output"):
        parts = found.get(name)
        if isinstance(parts, list):
            found[name] = [_part_as_listed(part, text_type) if isinstance(part, dict) else part for part in parts]
    return found


def _part_as_listed(part: dict[str, Any], text_type: str | None) -> dict[str, Any]:
    found = {name: value for name, value in part.items() if value is not None}
    if text_type is not None and found.get("type") == "input_text":
        found["type"] = text_type  # of an assistant: OpenAI's lists have no other text of one
    return {**_IN_PARTS.get(str(found.get("type")), {}), **found}


def is_made_here(name: Any) -> bool:
    """Return whether the id of an item is one that `listed` gave it."""
    return isinstance(name, str) and _MADE_HERE.fullmatch(name) is not None


class _Output(msgspec.Struct):
    output: list[dict[str, Any]] = []


_outputs: Final = msgspec.json.Decoder(_Output)
_items: Final = msgspec.json.Decoder(list[dict[str, Any]])


def items_of(text: str | bytes | msgspec.Raw) -> list[dict[str, Any]]:
    """Return the items of a JSON list."""
    return _items.decode(text)


def output_of(body: str | bytes | msgspec.Raw) -> list[dict[str, Any]]:
    """Return the items of a response object's output."""
    return _outputs.decode(body).output


def ids_of(items: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Return the ids of those items that have one."""
    return (item["id"] for item in items if isinstance(item.get("id"), str))


def response_of_item(item_id: str) -> str | None:
    """Return the hex digits of the response whose item this is, where its id says so."""
    _, _, digits = item_id.partition("_")
    owner = digits[:32]
    return owner if len(owner) == 32 and set(owner) <= set("0123456789abcdef") else None
