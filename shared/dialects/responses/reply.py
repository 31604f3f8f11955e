"""Responses, made of model events: events of a stream, or one body. Pure.

Both forms are made by the same steps, so they cannot differ: a fold takes them without the events.

Source of the order: OpenAI's OpenAPI document (ResponseStreamEvent), and the streams that its clients were made for. An
item's events stand between `response.output_item.added` and `.done`; a message ends where something else begins, calls,
whose pieces may come in turns, at the end of the answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from shared.dialects.native import NativeReply
from shared.dialects.responses.ids import item_id
from shared.dialects.responses.output import (
    CallItem,
    Item,
    MessageItem,
    ReasoningItem,
    RefusalPart,
    TextPart,
    to_annotation,
    to_logprobs,
)
from shared.dialects.responses.request import ENCRYPTED
from shared.dialects.responses.response import error_object, requested_fields, response_object
from shared.dialects.responses.stream import EventWriter
from shared.dialects.responses.tools import CalledTool
from shared.errors import Cancelled
from shared.types import Delta, Finish, ToolCallDelta, Usage

if TYPE_CHECKING:
    from shared.dialects.base import ReplyHead
    from shared.dialects.responses.request import ResponsesRequest
    from shared.errors import GatewayError
    from shared.types import Event

_INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}
_encode: Final = msgspec.json.encode


class Reply:
    """The answer as it grows.

    Args:
        head: what is the same in all of its parts.
        request: the request.
        writer: takes the events of a stream; None for one body.
    """

    def __init__(self, head: ReplyHead, request: ResponsesRequest, writer: EventWriter | None = None) -> None:
        self._head = head
        self._request = request
        self._fields = requested_fields(request.fields)
        self._writer = writer
        self._items: list[Item] = []
        self._open: MessageItem | ReasoningItem | None = None
        self._calls: dict[int, CallItem] = {}
        self._ended: dict[int, str] = {}
        self._end: Finish | None = None
        self._whole: dict[str, Any] | None = None

    def begin(self) -> None:
        """Write what every stream begins with; that a response of the background is there was said at its admission."""
        if self._writer is not None:
            response, is_known = self._response("in_progress"), self._head.events_before
            for name in ("in_progress",) if is_known else ("created", "in_progress"):
                self._writer.event(f"response.{name}", response=response)

    def take(self, event: Delta | Finish) -> None:
        """Add one event; a response has one choice, the first."""
        if event.index:
            return
        if isinstance(event, Finish):
            self._finish(event)
            return
        if event.reasoning:
            self._reason(event.reasoning)
        if event.content or event.annotations or event.extra is not None:
            self._add_content(event)
        if event.refusal:
            self._refuse(event.refusal)
        for call in event.tool_calls or ():
            self._call(call)

    def finished(self, usage: Usage) -> dict[str, Any]:
        """Return the whole response, and write that it is."""
        reason = None if self._end is None else _INCOMPLETE.get(self._end.reason)
        status = "completed" if reason is None else "incomplete"
        self._close_all(status)  # what was said after the end of the answer, where a server does so
        details = None if reason is None else {"reason": reason}
        output = [item.to_object(self._ended[item.index]) for item in self._items]
        response = self._response(status, output, usage, incomplete_details=details)
        if self._writer is not None:
            self._writer.event(f"response.{status}", response=response)
        self._whole = response
        return response

    def result(self, error: GatewayError | None) -> bytes | None:
        """Return the response as it ended: whole, or as far as it came; None where nothing came."""
        if error is None:
            return None if self._whole is None else _encode(self._whole)
        if not self._items:
            return None
        output = [item.to_object(self._ended.get(item.index, "incomplete")) for item in self._items]
        if isinstance(error, Cancelled):
            return _encode(self._response("cancelled", output))
        shown = {"code": error.code, "message": error.message}
        return _encode(self._response("failed", output, error=error_object(shown)))

    def _response(
        self, status: str, output: list[dict[str, Any]] | None = None, usage: Usage | None = None, **ended: Any
    ) -> dict[str, Any]:
        return response_object(self._head, self._fields, status=status, output=output or [], usage=usage, **ended)

    def _add(self, item: Item) -> None:
        self._items.append(item)
        if self._writer is not None:
            added = item.to_object("in_progress")
            self._writer.event("response.output_item.added", output_index=item.index, item=added)

    def _next_id(self, kind: str) -> tuple[int, str]:
        index = len(self._items)
        return index, item_id(self._head.request_id, kind, index)

    def _message(self) -> MessageItem:
        if isinstance(self._open, MessageItem):
            return self._open
        self._close()
        self._open = message = MessageItem(*self._next_id("message"))
        self._add(message)
        return message

    def _reason(self, text: str) -> None:
        item = self._open
        if not isinstance(item, ReasoningItem):
            self._close()
            request = self._request
            item = ReasoningItem(
                *self._next_id("reasoning"), is_summary=request.wants_summary, is_carried=request.includes(ENCRYPTED)
            )
            self._open = item
            self._add(item)
            if self._writer is not None:
                self._writer.thought_begins(item)
        item.texts.append(text)
        if self._writer is not None:
            self._writer.thought(item, text)

    def _add_content(self, event: Delta) -> None:
        message = self._message()
        if event.extra is not None:
            message.add_extra(event.extra)
        found = [annotation for each in event.annotations or () if (annotation := to_annotation(each)) is not None]
        if not event.content and not found:
            return
        part = message.parts[-1] if message.parts else None
        if not isinstance(part, TextPart):
            part = TextPart()
            self._begin_part(message, part)
        if event.content:
            logprobs = [] if event.logprobs is None else to_logprobs(event.logprobs)
            part.texts.append(event.content)
            part.logprobs += logprobs
            if self._writer is not None:
                self._writer.text(message, event.content, logprobs)
        for annotation in found:
            part.annotations.append(annotation)
            if self._writer is not None:
                self._writer.annotation(message, annotation, len(part.annotations) - 1)

    def _refuse(self, text: str) -> None:
        message = self._message()
        part = message.parts[-1] if message.parts else None
        if not isinstance(part, RefusalPart):
            part = RefusalPart()
            self._begin_part(message, part)
        part.texts.append(text)
        if self._writer is not None:
            self._writer.refusal(message, text)

    def _begin_part(self, message: MessageItem, part: TextPart | RefusalPart) -> None:
        if self._writer is not None and message.parts:
            self._writer.part_done(message)
        message.parts.append(part)
        if self._writer is not None:
            self._writer.part_begins(message)

    def _call(self, call: ToolCallDelta) -> None:
        item = self._calls.get(call.index)
        if item is None:
            self._close()
            name = call.name or ""
            tool = self._request.tools.called.get(name) or CalledTool(name)
            kind = "custom_tool_call" if tool.is_custom else "function_call"
            self._calls[call.index] = item = CallItem(*self._next_id(kind), call, tool)
            self._add(item)
        item.add(call)
        if self._writer is not None and call.arguments and not item.tool.is_custom:
            self._writer.arguments(item, call.arguments)

    def _close(self, status: str = "completed") -> None:
        """End the message or the thought that is under way."""
        item, self._open = self._open, None
        if item is None:
            return
        self._ended[item.index] = status
        if self._writer is None:
            return
        if isinstance(item, ReasoningItem):
            self._writer.thought_done(item)
        elif item.parts:
            self._writer.part_done(item)
        self._writer.item_done(item, status)

    def _finish(self, end: Finish) -> None:
        self._end = end
        if not self._items:
            self._message()  # an answer without a word is a message without one
        status = "incomplete" if end.reason in _INCOMPLETE else "completed"
        self._close_all(status)

    def _close_all(self, status: str) -> None:
        """End whatever is under way."""
        self._close(status)
        calls, self._calls = self._calls, {}
        for call in calls.values():
            self._ended[call.index] = status
            if self._writer is not None:
                self._writer.call_done(call)
                self._writer.item_done(call, status)


class ResponseEncoder:
    """Turns the events of one answer into the bytes of its stream.

    Args:
        head: what is the same in all of its parts.
        request: the request.
    """

    def __init__(self, head: ReplyHead, request: ResponsesRequest) -> None:
        self._writer = EventWriter(head.events_before)
        self._reply = Reply(head, request, self._writer)
        self._native = NativeReply(head, request)
        self._has_begun = self._is_native = False

    def encode(self, event: Delta | Finish) -> bytes:
        """Return the events of the stream that an event of the model makes."""
        if event.native is not None or self._is_native:
            self._is_native = True
            return self._native.take(event.native or ())
        if not self._has_begun:
            self._has_begun = True
            self._reply.begin()
        self._reply.take(event)
        return self._writer.taken()

    def end(self, usage: Usage) -> bytes:
        """Return what closes the stream."""
        if self._is_native:
            return self._native.last()
        self._reply.finished(usage)
        return self._writer.taken()

    def result(self, error: GatewayError | None) -> bytes | None:
        """Return the response as it ended; see `shared.dialects.base.Storable`."""
        return (self._native if self._is_native else self._reply).result(error)


class ResponseFold:
    """Adds up the events of one answer into its body.

    Args:
        head: what is the same in all of its parts.
        request: the request.
    """

    def __init__(self, head: ReplyHead, request: ResponsesRequest) -> None:
        self._reply = Reply(head, request)
        self._native = NativeReply(head, request)

    def add(self, event: Event) -> None:
        """Add one event; `Usage` is the caller's to keep."""
        if not isinstance(event, Usage):
            self._reply.take(event)
            self._native.take(event.native or ())

    def finished(self, usage: Usage) -> bytes:
        """Return the body: a Response."""
        if self._native.has_ended:
            return self._native.response()
        return _encode(self._reply.finished(usage))

    def result(self, error: GatewayError | None) -> bytes | None:
        """Return the response as it ended; see `shared.dialects.base.Storable`."""
        return self._native.result(error) or self._reply.result(error)
