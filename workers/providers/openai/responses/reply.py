"""OpenAI's Responses API as it answers, turned into events. Pure: no I/O.

Of what an answer says twice, in pieces and whole, the pieces count; what came whole only is taken from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from shared.errors import StreamBroken
from shared.types import Delta, Event, Finish, FinishReason, ToolCallDelta
from workers.providers.http.lines import EventReader
from workers.providers.openai.responses.called import Calls
from workers.providers.openai.responses.errors import failure_of
from workers.providers.openai.responses.joined_answer import JoinedAnswer, to_chat_logprobs
from workers.providers.openai.responses.shapes import (
    NULL,
    REASONING,
    Item,
    Response,
    StreamEvent,
    read_event,
    read_item,
    read_response,
)
from workers.providers.openai.responses.turns import Piece
from workers.providers.openai.usage import to_response_usage
from workers.providers.replies.finish import finish_reason
from workers.providers.replies.wrapped import has_any, unwrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
_is_event: Final = has_any("type", "output", "status", "error")


class ResponseReader(EventReader):
    """Reads one reply, a stream of server-sent events or one JSON response, into events.

    Args:
        names: of the functions that can be called.
        is_regional: whether the server is bound to a region.

    Attributes:
        pieces: the items of the answer, as they are kept for its next turn.
        first_call_id: the id of its first call, by which they are kept; None if it has none.
    """

    def __init__(self, names: Collection[str] = (), *, is_regional: bool = False) -> None:
        super().__init__()
        self._is_regional = is_regional
        self._calls = Calls(names)
        self._joined = JoinedAnswer()
        self._takers: dict[str, Callable[[StreamEvent, list[Event]], None]] = {
            "response.output_text.delta": self._take_text,
            "response.refusal.delta": self._take_refusal,
            "response.reasoning_summary_text.delta": self._take_thought,
            "response.reasoning_text.delta": self._take_thought,
            "response.output_text.annotation.added": self._take_annotation,
            "response.output_item.added": self._take_added,
            "response.function_call_arguments.delta": self._take_arguments,
            "response.function_call_arguments.done": self._take_all_arguments,
            "response.output_item.done": self._take_item,
            "error": self._take_error,
        }
        self._has_answer = False
        self.pieces: list[Piece] = []
        self.first_call_id: str | None = None

    @property
    def has_thoughts(self) -> bool:
        """Return whether there are thoughts that the next turn needs."""
        return self.first_call_id is not None and any(piece.encrypted_content for piece in self.pieces)

    def take_event(self, name: str, data: bytes, events: list[Event]) -> None:
        """Append the events of one of its events."""
        event = read_event(data)
        # Its own type, or that of the line before it; proxies lose either.
        kind = event.type if isinstance(event.type, str) and event.type else name
        if kind in _ENDS:
            self._end(kind, read_response(event.response), events)
        elif (take := self._takers.get(kind)) is not None:
            take(event, events)
        elif event.error and not kind.startswith("response."):
            self._fail(event.error)
        elif not kind and (inner := unwrapped(data, _is_event)) is not None:
            self.take_whole(inner, events)

    def as_called(self, item: Item) -> Item:
        """Return an item that is whole as the chat has it, where it is a call."""
        return item

    def take_whole(self, body: bytes, events: list[Event]) -> None:
        """Append the events of a response that was not streamed."""
        response = read_response(body)
        if response.output is None and response.status is None:
            self.take_event("", body, events)
            return
        kind = f"response.{response.status}"
        self._end(kind if kind in _ENDS else "response.completed", response, events)

    def complete(self, events: list[Event]) -> None:  # noqa: ARG002 -- the base class's
        """Fail: the last event of a response never came."""
        raise StreamBroken("The model server's answer ended before it was complete.")

    def _take_text(self, event: StreamEvent, events: list[Event]) -> None:
        self._has_answer = True  # if only that it is empty
        text = self._joined.text(event.delta or "", event.output_index, event.content_index)
        logprobs = to_chat_logprobs(event.logprobs) if event.logprobs != NULL else None
        self._add(Delta(content=text or None, logprobs=logprobs), events)

    def _take_refusal(self, event: StreamEvent, events: list[Event]) -> None:
        self._add(Delta(refusal=event.delta or None), events)

    def _take_thought(self, event: StreamEvent, events: list[Event]) -> None:
        index = event.content_index if event.summary_index is None else event.summary_index
        self._add(Delta(reasoning=self._joined.thought(event.delta or "", event.output_index, index) or None), events)

    def _take_annotation(self, event: StreamEvent, events: list[Event]) -> None:
        if isinstance(event.annotation, dict):
            annotation = self._joined.annotation(event.annotation, event.output_index, event.content_index)
            self._add(Delta(annotations=[annotation]), events)

    def _take_added(self, event: StreamEvent, events: list[Event]) -> None:
        item = read_item(event.item)
        if item.is_call:
            self._add_calls(self._calls.begin(self.as_called(item), event.output_index), events)

    def _take_arguments(self, event: StreamEvent, events: list[Event]) -> None:
        self._add_calls(self._calls.add(event.delta or "", event.item_id, event.output_index), events)

    def _take_all_arguments(self, event: StreamEvent, events: list[Event]) -> None:
        self._add_calls(self._calls.end(event.arguments, event.item_id, event.output_index), events)

    def _take_item(self, event: StreamEvent, events: list[Event]) -> None:
        item = read_item(event.item)
        self._keep(item)
        if (called := self.as_called(item)).is_call:
            self._add_calls(self._calls.begin(called, event.output_index), events)

    def _take_error(self, event: StreamEvent, events: list[Event]) -> None:  # noqa: ARG002 -- as all the others
        given = {"message": event.message, "code": event.code, "param": event.param, "status": event.status}
        self._fail(event.error or given)

    def _keep(self, item: Item) -> None:
        if item.type == REASONING:
            if item.encrypted_content:
                self.pieces.append(Piece(REASONING, item.id or "", item.summary or [], item.encrypted_content))
        elif item.is_call or item.type == "message":
            self.pieces.append(Piece("call" if item.is_call else "message"))

    def _end(self, kind: str, response: Response, events: list[Event]) -> None:
        if "failed" in {kind.removeprefix("response."), response.status}:
            self._fail(response.error)
        if kind == "response.cancelled":
            raise StreamBroken("The model server cancelled its answer.")
        if not self._has_answer:
            self._take_output(response.output or [], events)
        if held_back := self._calls.rest():
            self._add_calls(held_back, events)
        self.done = True
        tier = response.service_tier if isinstance(response.service_tier, str) else ""
        is_cut = "incomplete" in {kind.removeprefix("response."), response.status}
        events.append(Finish(self._reason(response.why_incomplete, is_cut=is_cut), service_tier=tier))
        if (usage := to_response_usage(response.usage)) is not None:
            usage.is_regional, usage.service_tier = self._is_regional, tier
            usage.web_searches = response.web_searches
            events.append(usage)

    def _reason(self, why: str, *, is_cut: bool) -> FinishReason:
        if is_cut:
            return "content_filter" if finish_reason(why, has_calls=False) == "content_filter" else "length"
        return "tool_calls" if self._calls else "stop"

    def _take_output(self, output: list[Item], events: list[Event]) -> None:
        """Append all that an answer says, of which nothing came in pieces."""
        is_kept, has_thought = bool(self.pieces), self.has_content
        for number, item in enumerate(output):
            if not is_kept:
                self._keep(item)
            if (called := self.as_called(item)).is_call:
                self._add_calls(self._calls.begin(called, number), events)
            for index, text in enumerate(item.thoughts if item.type == REASONING and not has_thought else ()):
                self._add(Delta(reasoning=self._joined.thought(text, number, index) or None), events)
            for index, part in enumerate(item.content or () if item.type != REASONING else ()):
                text = self._joined.text(part.text or "", number, index)
                self._add(Delta(content=text or None, refusal=part.refusal or None), events)

    def _add_calls(self, calls: list[ToolCallDelta], events: list[Event]) -> None:
        if calls:
            if self.first_call_id is None:
                self.first_call_id = next((call.id for call in calls if call.index == 0), None)
            self._add(Delta(tool_calls=calls), events)

    def _add(self, delta: Delta, events: list[Event]) -> None:
        is_answer = bool(delta.content or delta.refusal or delta.tool_calls)
        if is_answer or delta.reasoning or delta.annotations or delta.logprobs is not None:
            self.has_content, self._has_answer = True, self._has_answer or is_answer
            events.append(delta)

    def _fail(self, error: Any) -> None:
        raise failure_of(error, after_content=self.has_content)
