"""Responses requests that go to OpenAI as their clients sent them, and its answers, which are only read along. Pure.

All but these edits of the body is as it came, in the same order (`EDITS`). Of the answer the gateway's own dialect
changes what is ours (`shared/dialects/native.py`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from shared.dialects.native import WHOLE
from shared.dialects.responses.carried import is_carried
from shared.dialects.responses.request import ResponsesRequest
from shared.models.abilities import omitted
from shared.openai.added import BETWEEN
from shared.types import Delta, Event, Finish
from workers.providers.openai.responses.errors import to_chat_param
from workers.providers.openai.responses.items import to_items
from workers.providers.openai.responses.reply import ResponseReader
from workers.providers.openai.responses.shapes import read_event, read_item
from workers.providers.replies.json_reader import UNREADABLE, read_any

if TYPE_CHECKING:
    from collections.abc import Collection

    from shared.errors import GatewayError
    from shared.openai.request import ChatRequest

HELD_HERE: Final = ("previous_response_id", "conversation", "background", "background_options")
EDITS: Final = {
    "model": "the API's own name of the model",
    "stream": "every upstream is asked for a stream",
    "store": "nothing is stored at OpenAI",
    "instructions": "what a prompt header adds stands before them",
    "input": "what a session brings stands before it; thoughts without content, or of other models, are left out, "
    "with the ids of what followed them",
    "previous_response_id": "held here",
    "conversation": "held here",
    "background": "held here",
    "background_options": "held here",
    "*": "hints that the model does not take are left out, and named",
}
"""Every field that may go out otherwise than it came, and why."""
_skip: Final = msgspec.json.Decoder(msgspec.Raw).decode
_TOOL: Final = re.compile(r"tools\[(\d{1,9})\]")
_FOLLOWING: Final = frozenset({"message", "function_call", "custom_tool_call", "web_search_call"})
"""Items that thoughts stand before, and that need no id."""
_BEGINNINGS: Final = frozenset({
    "response.created", "response.in_progress", "response.queued", "response.content_part.added",
    "response.reasoning_summary_part.added",
})  # fmt: skip
"""Events before the first content: an answer that fails after them was not begun."""


def asked_natively(request: ChatRequest) -> ResponsesRequest | None:
    """Return a request as its client sent it, where that is one of the Responses API."""
    return request.client if isinstance(request.client, ResponsesRequest) else None


def to_native_body(request: ChatRequest, asked: ResponsesRequest, model: str, cannot: Collection[str]) -> bytes:
    """Return the body to send.

    Args:
        request: as a chat, with what the gateway adds.
        asked: as the client sent it.
        model: the model's name at the upstream.
        cannot: what the model does not take; hints among it are left out.
    """
    left_out = {*omitted(request.body, "openai", cannot), *HELD_HERE}
    # What was left out of the chat, since the model has refused it before.
    left_out |= {name for name in asked.same_in_chat if name not in request.fields}
    own: dict[str, Any] = {"model": model, "stream": True, "store": False}
    if request.added:
        given = asked.fields.get("instructions")
        own["instructions"] = request.added + BETWEEN + given if given else request.added
    own["input"] = _input(request, asked)
    fields = {
        name: own.get(name, value) if name in own else value
        for name, value in asked.fields.items()
        if name not in left_out
    }
    return msgspec.json.encode({**fields, **{name: value for name, value in own.items() if value is not None}})


def _input(request: ChatRequest, asked: ResponsesRequest) -> Any:
    """Return the client's items, or its text, with what a session brings before them; None where there are none."""
    given = asked.fields.get("input")
    items = _without_empty_thoughts(given) if isinstance(given, list) else given
    earlier = request.earlier_messages
    if not earlier:
        return items
    own = [{"role": "user", "content": items}] if isinstance(items, str) else items or []
    return [*to_items(earlier, {}).items, *own]


def _without_empty_thoughts(items: list[Any]) -> list[Any]:
    """Return items without thoughts that OpenAI does not have, and what followed those without its ids.

    By its id OpenAI knows which thoughts an item had before it, and refuses it without them.
    """
    kept: list[Any] = []
    has_lost = False
    for item in items:
        if _is_empty_thought(item):
            has_lost = True
            continue
        is_object = isinstance(item, dict)
        # Not in a new turn, nor after thoughts that are there.
        goes_on = not is_object or (item.get("type") != "reasoning" and item.get("role", "assistant") == "assistant")
        has_lost = has_lost and goes_on
        is_following = has_lost and is_object and (item.get("type") or "message") in _FOLLOWING
        kept.append({name: value for name, value in item.items() if name != "id"} if is_following else item)
    return kept


def _is_empty_thought(item: Any) -> bool:
    """Return whether an item names thoughts that OpenAI does not have: it has stored none, and others' are no use."""
    if not isinstance(item, dict) or item.get("type") != "reasoning":
        return False
    content = item.get("encrypted_content")
    return not content or is_carried(content)


def name_own_places(error: GatewayError, asked: ResponsesRequest) -> None:
    """Let an error about the client's own body name it as a chat would, which the dialect turns back."""
    error.message = _TOOL.sub(lambda found: _chat_tool(int(found[1]), asked), error.message)
    if error.param and not error.param.startswith("input"):
        error.param = to_chat_param(error.param, (), "max_completion_tokens")
        error.param = _TOOL.sub(lambda found: _chat_tool(int(found[1]), asked), error.param)


def _chat_tool(number: int, asked: ResponsesRequest) -> str:
    """Return the place of a tool in the chat; of one that no chat has, the list's name."""
    at = asked.chat_tool(number)
    return "tools" if at is None else f"tools[{at}]"


class NativeReader(ResponseReader):
    """Reads along, and hands out each event of the answer as it came with what it amounts to.

    Nothing is handed out before the answer has content: an attempt that fails until then is tried elsewhere.
    """

    def __init__(self, names: Collection[str] = (), *, is_regional: bool = False) -> None:
        super().__init__(names, is_regional=is_regional)
        self._held: list[tuple[str, bytes]] = []

    def take_event(self, name: str, data: bytes, events: list[Event]) -> None:
        """Append the events of one of its events, with itself."""
        made: list[Event] = []
        super().take_event(name, data, made)
        event = read_event(data)
        kind = event.type if isinstance(event.type, str) and event.type else name
        if kind.startswith("response.") and data.lstrip()[:1] == b"{":
            # What the dialect looks into is valid JSON by then; all else is as it came.
            self._held.append((kind, _as_json(data) if kind in WHOLE else _one_line(data)))
            if not made and (self.has_content or not self._is_beginning(kind, event.item)):
                self.has_content = True
                # Pieces of what a chat has no place for, as a custom tool's input, are output too.
                made.append(Delta(unread=event.delta or None))
        if made and isinstance(made[0], Delta | Finish):
            made[0].native, self._held = self._held, []
        events += made

    @staticmethod
    def _is_beginning(kind: str, item: msgspec.Raw) -> bool:
        if kind in _BEGINNINGS:
            return True
        is_item = kind in {"response.output_item.added", "response.output_item.done"}
        return is_item and read_item(item).type in {"message", "reasoning"}


def _one_line(data: bytes) -> bytes:
    """Return JSON as it came, where it is valid and fits into one line of an event."""
    text = data.strip()
    try:
        text.decode()
        _skip(text)
    except UNREADABLE:
        return _as_json(text)
    return _as_json(text) if b"\n" in text or b"\r" in text else text


def _as_json(data: bytes) -> bytes:
    return msgspec.json.encode(read_any(data))
