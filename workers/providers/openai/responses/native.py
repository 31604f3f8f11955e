"""Responses requests that go to OpenAI as their clients sent them, and its answers, which are only read along. Pure.

All but these edits of the body is as it came, in the same order (`EDITS`). Of the answer the gateway's own dialect
changes what is ours (`shared/dialects/native.py`).
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec

from shared.dialects.native import WHOLE
from shared.dialects.responses.request import ENCRYPTED, ResponsesRequest
from shared.dialects.responses.tools import CUSTOM_INPUT, ToolBox
from shared.models.abilities import omitted
from shared.openai.added import BETWEEN
from shared.types import Delta, Event, Finish
from workers.providers.openai.responses.errors import to_chat_param
from workers.providers.openai.responses.items import to_items
from workers.providers.openai.responses.own_items import OwnItems, in_own_form
from workers.providers.openai.responses.reply import ResponseReader
from workers.providers.openai.responses.shapes import CALL, CUSTOM_CALL, Item, read_event, read_item
from workers.providers.replies.json_reader import UNREADABLE, read_any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from shared.errors import GatewayError
    from shared.openai.request import ChatRequest

HELD_HERE: Final = ("previous_response_id", "conversation", "background", "background_options")
EDITS: Final = {
    "model": "the API's own name of the model",
    "stream": "every upstream is asked for a stream",
    "store": "nothing is stored at OpenAI",
    "instructions": "what a prompt header adds stands before them",
    "input": "what a session brings stands before it; ids that the gateway made are left out, and thoughts without "
    "content, of other models, or that OpenAI cannot read, with the ids of what followed them",
    "include": "asks for encrypted thoughts, where the response is stored here",
    "previous_response_id": "held here",
    "conversation": "held here",
    "background": "held here",
    "background_options": "held here",
    "*": "hints that the model does not take are left out, and named",
}
"""Every field that may go out otherwise than it came, and why."""
THOUGHTS: Final = "thoughts"
_skip: Final = msgspec.json.Decoder(msgspec.Raw).decode
_TOOL: Final = re.compile(r"tools\[(\d{1,9})\]")
_ITEM: Final = re.compile(r"\binput\[(\d{1,9})\]")
_BEGINNINGS: Final = frozenset({
    "response.created", "response.in_progress", "response.queued", "response.content_part.added",
    "response.reasoning_summary_part.added",
})  # fmt: skip
"""Events before the first content: an answer that fails after them was not begun."""


def native_request(request: ChatRequest) -> ResponsesRequest | None:
    """Return a request as its client sent it, where that is one of the Responses API."""
    return request.client if isinstance(request.client, ResponsesRequest) else None


class NativeBody(msgspec.Struct, frozen=True):
    """A request that is ready to go out.

    Args:
        content: the body.
        added_items: how many items stand before the client's own.
        places: where each other item stood in the client's, where some of those were left out.
        has_thoughts: whether encrypted thoughts of earlier turns are in it.
        asks_for_thoughts: whether it asks for new ones, of which the client has said nothing.
    """

    content: bytes
    added_items: int = 0
    places: tuple[int, ...] | None = None
    has_thoughts: bool = False
    asks_for_thoughts: bool = False

    @property
    def rejected_thoughts(self) -> str:
        """Return what can be left out where OpenAI rejects encrypted thoughts; nothing where there is none."""
        return THOUGHTS if self.has_thoughts else ENCRYPTED if self.asks_for_thoughts else ""

    def client_place(self, number: int) -> str:
        """Return where an item of what was sent stood in the client's input."""
        own = number - self.added_items
        if own < 0:
            return "input"
        at = self.places[own : own + 1] if self.places is not None else (own,)
        return f"input[{at[0]}]" if at else "input"


def to_native_body(
    request: ChatRequest,
    requested: ResponsesRequest,
    model: str,
    cannot: Collection[str],
    *,
    without: Collection[str] = (),
    kept: Mapping[str, str] = MappingProxyType({}),
) -> NativeBody:
    """Return what to send.

    Args:
        request: as a chat, with what the gateway adds.
        requested: as the client sent it.
        model: the model's name at the upstream.
        cannot: what the model does not take; hints among it are left out.
        without: what of encrypted thoughts OpenAI has rejected: those of earlier turns (`THOUGHTS`), or to be asked for
            new ones (`ENCRYPTED`).
        kept: the content of thoughts that come without, by their ids.
    """
    left_out = {*omitted(request.body, "openai", cannot), *HELD_HERE}
    # What was left out of the chat, since the model has rejected it before.
    left_out |= {name for name in requested.same_in_chat if name not in request.fields}
    own: dict[str, Any] = {"model": model, "stream": True, "store": False}
    if request.added:
        given = requested.fields.get("instructions")
        own["instructions"] = request.added + BETWEEN + given if given else request.added
    items = OwnItems(requested.fields.get("input"), kept, may_have_thoughts=THOUGHTS not in without)
    earlier = to_items(request.earlier_messages, {}).items if request.earlier_messages else []
    earlier = in_own_form(earlier, requested.tools, requested.fields.get("input"))
    own["input"] = items.after(earlier)
    asks = needs_thoughts(requested) and ENCRYPTED not in without and "reasoning_effort" not in cannot
    if asks:
        own["include"] = [*requested.body.include, ENCRYPTED]
    fields = {
        name: own.get(name, value) if name in own else value
        for name, value in requested.fields.items()
        if name not in left_out
    }
    content = msgspec.json.encode({**fields, **{name: value for name, value in own.items() if value is not None}})
    return NativeBody(content, len(earlier), items.places, items.has_thoughts, asks)


def needs_thoughts(requested: ResponsesRequest) -> bool:
    """Return whether the gateway itself wants the encrypted thoughts: it stores them, and its client need not know."""
    return bool(requested.body.store) and not requested.includes(ENCRYPTED)


def name_own_places(error: GatewayError, requested: ResponsesRequest, sent: NativeBody) -> None:
    """Let an error about what was sent name it as a chat would, which the dialect turns back; items by their places."""
    error.message = _ITEM.sub(lambda found: sent.client_place(int(found[1])), error.message)
    error.message = _TOOL.sub(lambda found: _chat_tool(int(found[1]), requested), error.message)
    if error.param and error.param.startswith("input"):
        error.param = _ITEM.sub(lambda found: sent.client_place(int(found[1])), error.param)
    elif error.param:
        error.param = to_chat_param(error.param, (), "max_completion_tokens")
        error.param = _TOOL.sub(lambda found: _chat_tool(int(found[1]), requested), error.param)


def _chat_tool(number: int, requested: ResponsesRequest) -> str:
    """Return the place of a tool in the chat; of one that no chat has, the list's name."""
    at = requested.chat_tool(number)
    return "tools" if at is None else f"tools[{at}]"


class NativeReader(ResponseReader):
    """Reads along, and hands out each event of the answer as it came with what it amounts to.

    Nothing is handed out before the answer has content: an attempt that fails until then is tried elsewhere.

    Args:
        names: of the functions that can be called.
        tools: what the client's tools are called in the chat.
        is_regional: whether the server is bound to a region.
    """

    def __init__(self, names: Collection[str] = (), tools: ToolBox | None = None, *, is_regional: bool = False) -> None:
        super().__init__(names, is_regional=is_regional)
        self._tools = tools or ToolBox()
        self._held: list[tuple[str, bytes]] = []

    def as_called(self, item: Item) -> Item:
        """Return a call under the name of the chat's function; of a custom tool with the input as its argument."""
        if not (item.is_call or item.type == CUSTOM_CALL):
            return item
        name = self._tools.function_name(item.namespace, item.name) if item.name else None
        if item.is_call:
            return msgspec.structs.replace(item, name=name)
        return msgspec.structs.replace(item, type=CALL, name=name, arguments={CUSTOM_INPUT: item.input})

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
        if self._held and made and isinstance(made[0], Delta | Finish):
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
