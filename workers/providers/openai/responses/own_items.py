"""The items of a request of the Responses API as they go to OpenAI: as they came, but for what it does not have. Pure.

Thoughts that OpenAI does not have are left out, and what followed those loses its id: by that OpenAI knows which
thoughts an item had before it, and rejects it without them. Ids that the gateway made name nothing there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from shared.dialects.responses.carried import is_carried
from shared.dialects.responses.tools import CalledTool, custom_input
from shared.dialects.stored.items import is_made_here

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.dialects.responses.tools import ToolBox

_FOLLOWING: Final = frozenset({"message", "function_call", "custom_tool_call", "web_search_call"})
"""Items that thoughts stand before, and that need no id."""


class OwnItems:
    """A client's items, or its text.

    Args:
        given: the client's input.
        kept: the content of thoughts that come without, by their ids.
        may_have_thoughts: whether encrypted thoughts may go out.

    Attributes:
        has_thoughts: whether some do.
        places: where each item stood in the client's input; None where none is left out.
    """

    def __init__(self, given: Any, kept: Mapping[str, str], *, may_have_thoughts: bool) -> None:
        self.has_thoughts = False
        self.places: tuple[int, ...] | None = None
        self._kept = kept
        self._may_have_thoughts = may_have_thoughts
        self._has_lost = False
        self._own = self._all_sent(given) if isinstance(given, list) else given

    def after(self, earlier: list[dict[str, Any]]) -> Any:
        """Return all items, or the text where nothing stands before it; None where there are none."""
        own = self._own
        if not earlier:
            return own
        return [*earlier, *([{"role": "user", "content": own}] if isinstance(own, str) else own or [])]

    def _all_sent(self, items: list[Any]) -> list[Any]:
        made = [self._sent(item) for item in items]
        places = [number for number, item in enumerate(made) if item is not _LEFT_OUT]
        if len(places) < len(made):
            self.places = tuple(places)
        return [made[number] for number in places]

    def _sent(self, item: Any) -> Any:
        if not isinstance(item, dict):
            return item
        if item.get("type") == "reasoning":
            return self._thought(item)
        if item.get("role", "assistant") != "assistant":
            self._has_lost = False  # a new turn
        is_following = self._has_lost and (item.get("type") or "message") in _FOLLOWING
        if is_following or is_made_here(item.get("id")):
            return {name: value for name, value in item.items() if name != "id"}
        return item

    def _thought(self, item: dict[str, Any]) -> Any:
        name = item.get("id")
        content = self._kept.get(name) if isinstance(name, str) and is_empty_thought(item) else None
        item = item if content is None else {**item, "encrypted_content": content}
        self._has_lost = is_empty_thought(item) or not self._may_have_thoughts
        self.has_thoughts = self.has_thoughts or not self._has_lost
        return _LEFT_OUT if self._has_lost else item


_LEFT_OUT: Final = object()


def is_empty_thought(item: Any) -> bool:
    """Return whether an item names thoughts that OpenAI does not have: it has stored none, and others' are no use."""
    if not isinstance(item, dict) or item.get("type") != "reasoning":
        return False
    content = item.get("encrypted_content")
    return not content or is_carried(content)


def thoughts_without_content(given: Any) -> list[str]:
    """Return the ids of thoughts that an input names and has not got the content of."""
    names = [item.get("id") for item in given if is_empty_thought(item)] if isinstance(given, list) else []
    return [name for name in names if isinstance(name, str) and name]


def in_own_form(earlier: list[dict[str, Any]], tools: ToolBox, own: Any) -> list[dict[str, Any]]:
    """Return the items of a session as the request's tools have them: a session knows functions alone.

    Args:
        earlier: what the session brings.
        tools: of the request.
        own: the request's own input, whose results say what they are results of.
    """
    own_items = own if isinstance(own, list) else []
    custom = {item.get("call_id") for item in own_items if _is(item, "custom_tool_call_output")}
    made = []
    for item in earlier:
        if item.get("type") == "function_call":
            tool = tools.called.get(item["name"]) or CalledTool(item["name"])
            if tool.is_custom:
                custom.add(item["call_id"])
            made.append(_called(item, tool, is_custom=item["call_id"] in custom))
        elif item.get("type") == "function_call_output" and item["call_id"] in custom:
            made.append({**item, "type": "custom_tool_call_output"})
        else:
            made.append(item)
    return made


def _is(item: Any, kind: str) -> bool:
    return isinstance(item, dict) and item.get("type") == kind and isinstance(item.get("call_id"), str)


def _called(item: dict[str, Any], tool: CalledTool, *, is_custom: bool) -> dict[str, Any]:
    named = {"name": tool.name, **({} if tool.namespace is None else {"namespace": tool.namespace})}
    if not is_custom:
        return {**item, **named}
    return {"type": "custom_tool_call", "call_id": item["call_id"], **named, "input": custom_input(item["arguments"])}
