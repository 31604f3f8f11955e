"""The items of a response's output, as events of a model add up to them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from shared.dialects.responses.carried import to_carried
from shared.dialects.responses.tools import CalledTool, custom_input
from shared.openai.extra_fields import add_extra

if TYPE_CHECKING:
    from shared.types import ToolCallDelta


class TextPart:
    """A text of a message, with its citations and log probabilities."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.annotations: list[dict[str, Any]] = []
        self.logprobs: list[dict[str, Any]] = []

    @property
    def text(self) -> str:
        """Return all of it so far."""
        return "".join(self.texts)

    def to_object(self) -> dict[str, Any]:
        """Return it as OpenAI's OutputTextContent."""
        return {
            "type": "output_text",
            "text": self.text,
            "annotations": self.annotations,
            "logprobs": self.logprobs,
        }


class RefusalPart:
    """A refusal."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    @property
    def text(self) -> str:
        """Return all of it so far."""
        return "".join(self.texts)

    def to_object(self) -> dict[str, Any]:
        """Return it as OpenAI's RefusalContent."""
        return {"type": "refusal", "refusal": self.text}


class MessageItem:
    """A message of the model.

    Args:
        index: its number among the items.
        item_id: its id.
    """

    kind = "message"

    def __init__(self, index: int, item_id: str) -> None:
        self.index = index
        self.id = item_id
        self.parts: list[TextPart | RefusalPart] = []
        self.extra: dict[str, Any] = {}

    def add_extra(self, extra: dict[str, Any]) -> None:
        """Add fields that OpenAI does not name."""
        add_extra(self.extra, extra)

    def to_object(self, status: str) -> dict[str, Any]:
        """Return it as OpenAI's OutputMessage."""
        content = [part.to_object() for part in self.parts]
        return {
            "id": self.id,
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": content,
            **self.extra,
        }


class ReasoningItem:
    """Thoughts of the model.

    Args:
        index: its number among the items.
        item_id: its id.
        is_summary: whether the client wants it as a summary.
        is_carried: whether it wants to carry it to the next turn.
    """

    kind = "reasoning"

    def __init__(self, index: int, item_id: str, *, is_summary: bool, is_carried: bool) -> None:
        self.index = index
        self.id = item_id
        self.is_summary = is_summary
        self._is_carried = is_carried
        self.texts: list[str] = []

    @property
    def text(self) -> str:
        """Return all of it so far."""
        return "".join(self.texts)

    def part(self) -> dict[str, str]:
        """Return its only part."""
        return {"type": "summary_text" if self.is_summary else "reasoning_text", "text": self.text}

    def to_object(self, _: str) -> dict[str, Any]:
        """Return it as OpenAI's ReasoningItem."""
        parts = [self.part()] if self.texts else []
        item: dict[str, Any] = {"id": self.id, "type": "reasoning", "summary": parts if self.is_summary else []}
        if not self.is_summary:
            item["content"] = parts
        if self._is_carried:
            item["encrypted_content"] = to_carried(self.text)
        return item


class CallItem:
    """A call of a function, or of a custom tool.

    Args:
        index: its number among the items.
        item_id: its id.
        call: its first piece.
        tool: what is called.
    """

    def __init__(self, index: int, item_id: str, call: ToolCallDelta, tool: CalledTool) -> None:
        self.index = index
        self.id = item_id
        self.tool = tool
        self.kind = "custom_tool_call" if tool.is_custom else "function_call"
        self.texts: list[str] = []
        self._call_id = call.id or item_id
        self._extra: dict[str, Any] = {}

    @property
    def arguments(self) -> str:
        """Return the arguments so far; an object where there are none."""
        return "".join(self.texts) or "{}"

    @property
    def input(self) -> str:
        """Return the input of a custom tool so far."""
        return custom_input(self.arguments)

    def add(self, call: ToolCallDelta) -> None:
        if call.arguments:
            self.texts.append(call.arguments)
        if call.extra_content is not None:
            self._extra = {"extra_content": {**self._extra.get("extra_content", {}), **call.extra_content}}

    def to_object(self, status: str) -> dict[str, Any]:
        """Return it as OpenAI's FunctionToolCall or CustomToolCall; without arguments where it has just begun."""
        has_begun = status == "in_progress"
        named = {} if self.tool.namespace is None else {"namespace": self.tool.namespace}
        item = {"id": self.id, "type": self.kind, "call_id": self._call_id, "name": self.tool.name, **named}
        if self.tool.is_custom:
            return {**item, "input": "" if has_begun else self.input, **self._extra}
        return {**item, "status": status, "arguments": "" if has_begun else self.arguments, **self._extra}


Item = MessageItem | ReasoningItem | CallItem


def to_annotation(given: Any) -> dict[str, Any] | None:
    """Return a citation of a chat's answer as a response has it; None of another kind."""
    cited = given.get("url_citation") if isinstance(given, dict) else None
    if not isinstance(cited, dict):
        return None
    url, title = cited.get("url"), cited.get("title")
    places = {name: cited.get(name) for name in ("start_index", "end_index")}
    return {
        "type": "url_citation",
        **{name: place if isinstance(place, int) else 0 for name, place in places.items()},
        "url": url if isinstance(url, str) else "",
        "title": title if isinstance(title, str) else "",
    }


def to_logprobs(given: msgspec.Raw | None) -> list[dict[str, Any]]:
    """Return the log probabilities of a piece of text as a response has them."""
    found = None if given is None else msgspec.json.decode(given)
    tokens = (found.get("content") or ()) if isinstance(found, dict) else ()
    return [_token(one, tops=[_token(top) for top in one.get("top_logprobs") or ()]) for one in tokens]


def _token(given: Any, tops: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    token = {
        "token": str(given.get("token", "")),
        "logprob": given.get("logprob") or 0.0,
        "bytes": given.get("bytes") or [],
    }
    return token if tops is None else {**token, "top_logprobs": tops}
