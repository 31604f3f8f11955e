"""Events and replies of OpenAI's Responses API, as far as they are read.

Source of the shapes: OpenAI's OpenAPI document, schemas ResponseStreamEvent and Response.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Raw, Struct

from workers.providers.http.usage_report import count_at
from workers.providers.replies.json_reader import Text, Word, json_reader

NULL: Final = Raw(b"null")
REASONING: Final = "reasoning"
CALL: Final = "function_call"
CUSTOM_CALL: Final = "custom_tool_call"


class Part(Struct):
    """A part of what an item says, or of its summary."""

    text: Text | None = None
    refusal: Text | None = None


class Item(Struct):
    """An item of an answer: what was said, a call, or thoughts."""

    id: Word | None = None
    type: Word | None = None
    name: Word | None = None
    call_id: Word | None = None
    namespace: Word | None = None
    arguments: Any = None
    input: Any = None
    action: Any = None
    content: list[Part] | None = None
    summary: list[Any] | None = None
    encrypted_content: Word | None = None

    @property
    def thoughts(self) -> list[str]:
        """Return what thoughts say, part by part: their summary, or themselves where they are open."""
        summary = [part.get("text") for part in self.summary or () if isinstance(part, dict)]
        return [text for text in summary if isinstance(text, str)] or [part.text or "" for part in self.content or ()]

    @property
    def is_search(self) -> bool:
        """Return whether it is a search of the web: pages that are opened and looked through are not billed."""
        kind = self.action.get("type") if isinstance(self.action, dict) else None
        return self.type == "web_search_call" and kind not in ("open_page", "find_in_page")

    @property
    def is_call(self) -> bool:
        """Return whether it is a call of a function: by its type, and by its form where it has none."""
        return self.type == CALL or (self.type not in _TYPES and self.call_id is not None and self.name is not None)


_TYPES: Final = frozenset({"message", REASONING, CALL, CUSTOM_CALL, "mcp_call"})
"""Types of items that are what they say they are."""


class Response(Struct):
    """A response, as its first and its last event have it."""

    status: Word | None = None
    error: Any = None
    incomplete_details: Any = None
    usage: Raw = NULL
    output: list[Item] | None = None
    service_tier: Any = None
    tool_usage: Any = None

    @property
    def web_searches(self) -> int:
        """Return how often OpenAI searched the web: as it says, else as often as it did so among the items."""
        used = self.tool_usage if isinstance(self.tool_usage, dict) else {}
        counted = count_at(used, "web_search", "num_requests")
        return sum(item.is_search for item in self.output or ()) if counted is None else counted

    @property
    def why_incomplete(self) -> str:
        """Return why it was cut, in OpenAI's word."""
        details = self.incomplete_details
        reason = details.get("reason") if isinstance(details, dict) else details
        return reason if isinstance(reason, str) else ""


class StreamEvent(Struct):
    """An event of a stream: what any of them may have."""

    type: Any = None
    delta: Text | None = None
    arguments: Any = None
    item_id: Word | None = None
    output_index: int | None = None
    content_index: int | None = None
    summary_index: int | None = None
    annotation: Any = None
    logprobs: Raw = NULL
    item: Raw = NULL
    response: Raw = NULL
    error: Any = None
    code: Any = None
    message: Any = None
    param: Any = None
    status: Any = None


read_event: Final = json_reader(StreamEvent, takes_anything=True)
read_item: Final = json_reader(Item, takes_anything=True)
read_response: Final = json_reader(Response, takes_anything=True)
