"""The events of a stream of a response, numbered, as bytes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from shared.dialects.responses.output import RefusalPart, TextPart
from shared.dialects.responses.response import NOTHING_REQUESTED, error_object, response_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.dialects.base import ReplyHead
    from shared.dialects.responses.output import CallItem, Item, MessageItem, ReasoningItem

_encode: Final = msgspec.json.encode


def event_bytes(kind: str, number: int, fields: Mapping[str, Any]) -> bytes:
    """Return one event."""
    body = _encode({"type": kind, "sequence_number": number, **fields})
    return b"event: " + kind.encode() + b"\ndata: " + body + b"\n\n"


class EventWriter:
    """Keeps events until they are taken.

    Args:
        first: the number of the first one.
    """

    def __init__(self, first: int = 0) -> None:
        self._number = first
        self._waiting: list[bytes] = []
        # Of the text that is said now: what is left to do for a token is its text and its number.
        self._text_head = b""
        self._text_of: tuple[str, int] | None = None

    def taken(self) -> bytes:
        """Return the events since this was last called."""
        waiting, self._waiting = self._waiting, []
        return waiting[0] if len(waiting) == 1 else b"".join(waiting)

    def event(self, kind: str, **fields: Any) -> None:
        self._waiting.append(event_bytes(kind, self._number, fields))
        self._number += 1

    def item_done(self, item: Item, status: str) -> None:
        """Write that an item is whole."""
        self.event("response.output_item.done", output_index=item.index, item=item.to_object(status))

    # --- messages ---

    def text(self, message: MessageItem, text: str, logprobs: list[dict[str, Any]]) -> None:
        """Add a piece of a message's text."""
        if logprobs:
            pieces = [_without_bytes(each) for each in logprobs]
            self.event("response.output_text.delta", **_place(message), delta=text, logprobs=pieces)
            return
        at = (message.id, len(message.parts))
        if self._text_of != at:
            kind = "response.output_text.delta"
            head = _encode({"type": kind, **_place(message)})[:-1]
            self._text_head = b"event: " + kind.encode() + b"\ndata: " + head + b',"logprobs":[],"sequence_number":'
            self._text_of = at
        self._waiting.append(b'%s%d,"delta":%s}\n\n' % (self._text_head, self._number, _encode(text)))
        self._number += 1

    def annotation(self, message: MessageItem, annotation: dict[str, Any], index: int) -> None:
        """Add a citation."""
        place = _place(message)
        self.event("response.output_text.annotation.added", **place, annotation_index=index, annotation=annotation)

    def refusal(self, message: MessageItem, text: str) -> None:
        """Add a piece of a refusal."""
        self.event("response.refusal.delta", **_place(message), delta=text)

    def part_begins(self, message: MessageItem) -> None:
        """Write that the last part of a message begins; nothing is in it yet."""
        self.event("response.content_part.added", **_place(message), part=message.parts[-1].to_object())

    def part_done(self, message: MessageItem) -> None:
        """Write that the last part of a message is whole."""
        part, place = message.parts[-1], _place(message)
        if isinstance(part, TextPart):
            logprobs = [_without_bytes(each) for each in part.logprobs]
            self.event("response.output_text.done", **place, text=part.text, logprobs=logprobs)
        elif isinstance(part, RefusalPart):
            self.event("response.refusal.done", **place, refusal=part.text)
        self.event("response.content_part.done", **place, part=part.to_object())

    # --- thoughts ---

    def thought_begins(self, item: ReasoningItem) -> None:
        """Write that the only part of a thought begins; nothing is in it yet."""
        name = "response.reasoning_summary_part.added" if item.is_summary else "response.content_part.added"
        self.event(name, **_thought_place(item), part=item.part())

    def thought(self, item: ReasoningItem, text: str) -> None:
        """Add a piece of a thought."""
        name = "response.reasoning_summary_text.delta" if item.is_summary else "response.reasoning_text.delta"
        self.event(name, **_thought_place(item), delta=text)

    def thought_done(self, item: ReasoningItem) -> None:
        """Write that the only part of a thought is whole."""
        place = _thought_place(item)
        text = "response.reasoning_summary_text.done" if item.is_summary else "response.reasoning_text.done"
        part = "response.reasoning_summary_part.done" if item.is_summary else "response.content_part.done"
        self.event(text, **place, text=item.text)
        self.event(part, **place, part=item.part())

    # --- calls ---

    def arguments(self, item: CallItem, arguments: str) -> None:
        """Add a piece of a call's arguments."""
        self.event("response.function_call_arguments.delta", item_id=item.id, output_index=item.index, delta=arguments)

    def call_done(self, item: CallItem) -> None:
        """Write that a call is whole. The input of a custom tool comes at once: its pieces are in JSON until then."""
        place = {"item_id": item.id, "output_index": item.index}
        if item.tool.is_custom:
            self.event("response.custom_tool_call_input.delta", **place, delta=item.input)
            self.event("response.custom_tool_call_input.done", **place, input=item.input)
            return
        if not item.texts:
            self.event("response.function_call_arguments.delta", **place, delta=item.arguments)
        self.event("response.function_call_arguments.done", **place, name=item.tool.name, arguments=item.arguments)


class ResponseFailure:
    """Says in a stream that has begun that its request failed: see `shared.dialects.base.StreamFailure`.

    Args:
        head: what is the same in all parts of the reply, with the model that was asked for.
    """

    def __init__(self, head: ReplyHead) -> None:
        self._head = head
        self._number = 0
        self._is_at_line_end = False

    def count(self, chunk: bytes) -> None:
        """Count the events in bytes that the client gets: each ends with an empty line, and has no other."""
        self._number += chunk.count(b"\n\n") + (self._is_at_line_end and chunk.startswith(b"\n"))
        self._is_at_line_end = chunk.endswith(b"\n") and not chunk.endswith(b"\n\n")

    def events(self, error: Mapping[str, Any], model: str | None) -> bytes:
        """Return OpenAI's error event and `response.failed`: clients handle the one or the other.

        The error stands in the event twice: as the document has it, and as OpenAI's own API sends it.
        """
        shown = {name: error[name] for name in ("code", "message", "param")}
        response = response_object(
            self._head._replace(model=model or self._head.model),
            NOTHING_REQUESTED,
            status="failed",
            error=error_object(error),
        )
        first = event_bytes("error", self._number, {**shown, "error": error})
        return first + event_bytes("response.failed", self._number + 1, {"response": response})


def _place(message: MessageItem) -> dict[str, Any]:
    return {"item_id": message.id, "output_index": message.index, "content_index": len(message.parts) - 1}


def _thought_place(item: ReasoningItem) -> dict[str, Any]:
    part = "summary_index" if item.is_summary else "content_index"
    return {"item_id": item.id, "output_index": item.index, part: 0}


def _without_bytes(logprob: dict[str, Any]) -> dict[str, Any]:
    """Return a token's log probability as events have it."""
    tops = [{name: top[name] for name in ("token", "logprob")} for top in logprob["top_logprobs"]]
    return {"token": logprob["token"], "logprob": logprob["logprob"], "top_logprobs": tops}
