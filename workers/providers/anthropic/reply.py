"""Anthropic's streamed replies turned into events. Pure.

Source: Anthropic's Messages API (RawMessageStreamEvent, Usage, StopReason) and its streaming page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from shared.errors import StreamBroken
from shared.types import Delta, Event, Finish, FinishReason, ToolCallDelta, Usage
from workers.providers.anthropic.citations import to_annotations
from workers.providers.anthropic.errors import from_event
from workers.providers.anthropic.shapes import Block, BlockDelta, StreamEvent, read_event
from workers.providers.anthropic.thinking import Piece, is_thought
from workers.providers.http.error_body import Report, stream_failure
from workers.providers.http.lines import EventReader
from workers.providers.http.usage_report import count_at, later_report
from workers.providers.replies.call_arguments import CallArguments, to_text
from workers.providers.replies.finish import finish_reason
from workers.providers.replies.tool_calls import ToolCalls

if TYPE_CHECKING:
    from msgspec import Raw

_WHOLE: Final = frozenset({"", "message"})
"""Type of an event that is a message as it would not have been streamed."""
_KINDS: Final = frozenset({"text", "thinking", "redacted_thinking", "tool_use"})


class _Call:
    """A tool call that is under way: its index among the calls, or None for the one that is the reply's content."""

    def __init__(self, index: int | None, block: Block) -> None:
        self.index = index
        self.arguments = CallArguments()
        self.given = block.input

    def to_delta(self, text: str) -> Delta:
        """Return a piece of the call's input."""
        if self.index is None:
            return Delta(content=text)
        return Delta(tool_calls=[ToolCallDelta(self.index, arguments=text)])


class ChatReader(EventReader):
    """Reads one reply, a stream of server-sent events, into events.

    Args:
        json_tool: the tool whose input is the reply's content, if there is one.

    Attributes:
        pieces: the reply's blocks so far, for keeping its thinking.
        first_call_id: the id of the first tool call.
    """

    def __init__(self, json_tool: str | None = None) -> None:
        super().__init__()
        self.pieces: list[Piece] = []
        self.first_call_id: str | None = None
        self._json_tool = json_tool
        self._blocks: dict[int, Piece] = {}
        self._calls: dict[int, _Call] = {}
        self._index = -1
        self._foreign: set[int] = set()
        self._tool_calls = ToolCalls()
        self._report: dict[str, Any] = {}
        self._reason: FinishReason | None = None
        self._stop_sequence: str | None = None
        self._chars = 0
        self._cited: dict[int, list[Any]] = {}

    @property
    def has_thoughts(self) -> bool:
        """Return whether the model thought before it called tools, and will want its thoughts back."""
        return self.first_call_id is not None and any(is_thought(piece) for piece in self.pieces)

    def take_event(self, name: str, data: bytes, events: list[Event]) -> None:
        """Append the events of an event. Its name stands in its data too; `ping` has nothing to say."""
        event = read_event(data)
        kind = event.type or name
        if event.content is not None and kind in _WHOLE:
            self._take_message(event, events)
            return
        if kind == "content_block_delta":
            self._take_delta(event.index, event.delta or BlockDelta(), events)
        elif kind == "content_block_start":
            self._start(event.index, event.content_block or Block(), events)
        elif kind == "content_block_stop":
            self._stop(event.index, events)
        elif kind == "message_start" and event.message is not None:
            self._count(event.message.usage)
            self._append_usage(events)  # should the end never come
        elif kind == "message_delta":
            self._count(event.usage)
            self._take_end(event.delta or BlockDelta(), events)
        elif kind == "message_stop":
            self.complete(events)
        elif kind == "error" or event.error:
            raise from_event(event.error, after_content=self.has_content)

    def take_whole(self, body: bytes, events: list[Event]) -> None:
        """Append the events of a message that was not streamed."""
        message = read_event(body)
        if message.content is None:
            self.take_event("", body, events)
            return
        self._take_message(message, events)
        if not self.done:
            self.complete(events)

    def _take_message(self, message: StreamEvent, events: list[Event]) -> None:
        content = message.content or []
        for index, block in enumerate([Block(text=content)] if isinstance(content, str) else content):
            self._start(index, block, events)
            self._stop(index, events)
        self._count(message.usage)
        sequence, details = message.stop_sequence, message.stop_details
        end = BlockDelta(stop_reason=message.stop_reason, stop_sequence=sequence, stop_details=details)
        self._take_end(end, events)

    def _start(self, index: int | None, block: Block, events: list[Event]) -> None:
        self._index = self._index + 1 if index is None else index
        kind = block.kind
        # Kinds that come later lose no answer: they are passed over, as is a call of nothing.
        if kind not in _KINDS or (kind == "tool_use" and not block.name and not block.id):
            self._foreign.add(self._index)
            return
        piece = Piece(kind, data=block.data)
        self._blocks[self._index] = piece
        if kind != "tool_use":
            self.pieces.append(piece)
            self._take_delta(self._index, BlockDelta(block.text, block.thinking, block.signature), events)
            if block.citations:
                self._cited[self._index] = list(block.citations)
        elif block.name == self._json_tool:
            # No piece of the turn: the client sees a text, and brings no such call back.
            self._calls[self._index] = _Call(None, block)
        else:
            self.pieces.append(piece)
            begun = self._tool_calls.add(block.name or "", block.id)
            self._calls[self._index] = _Call(begun.index, block)
            self.first_call_id = self.first_call_id or begun.id
            self._emit(Delta(tool_calls=[begun]), events)

    def _take_delta(self, index: int | None, delta: BlockDelta, events: list[Event]) -> None:
        index = self._index if index is None else index
        if index in self._foreign:
            return
        piece = self._blocks.get(index)
        if piece is None:  # the event that begins it was lost
            piece = self._blocks[index] = Piece("thinking" if delta.thinking else "text")
            self.pieces.append(piece)
        if delta.text:
            piece.chars += len(delta.text)
            self._chars += len(delta.text)
            self._emit(Delta(content=delta.text), events)
        elif delta.partial_json and index in self._calls:
            call = self._calls[index]
            if text := call.arguments.take(delta.partial_json):
                self._emit(call.to_delta(text), events)
        elif delta.thinking:
            piece.thinking = (piece.thinking or "") + delta.thinking
            self._emit(Delta(reasoning=delta.thinking), events)
        if delta.signature:
            piece.signature = (piece.signature or "") + delta.signature
        if delta.citation is not None:
            self._cited.setdefault(index, []).append(delta.citation)

    def _stop(self, index: int | None, events: list[Event]) -> None:
        """End a block: a call without any piece of input has the one it began with, `{}` as a rule."""
        index = self._index if index is None else index
        if index in self._cited:
            start = self._chars - self._blocks[index].chars
            if annotations := to_annotations(self._cited.pop(index), start, self._chars):
                self._emit(Delta(annotations=annotations), events)
        call = self._calls.pop(index, None)
        if call is not None:
            begun = "" if call.arguments.have_begun else call.arguments.take(to_text(call.given))
            if text := begun + call.arguments.rest():
                self._emit(call.to_delta(text), events)

    def _take_end(self, delta: BlockDelta, events: list[Event]) -> None:
        if delta.stop_reason is None:
            return
        reason = finish_reason(delta.stop_reason, has_calls=bool(self._tool_calls))
        if reason is None:
            raise stream_failure(Report(code=delta.stop_reason), after_content=self.has_content)
        details = delta.stop_details
        if reason == "content_filter" and details is not None and details.explanation:
            self._emit(Delta(refusal=details.explanation), events)
        self._reason, self._stop_sequence = reason, delta.stop_sequence

    def _count(self, usage: Raw) -> None:
        """Record the counts that are reported: each is the total so far."""
        self._report = later_report(self._report, usage)

    @property
    def _service_tier(self) -> str:
        tier = self._report.get("service_tier")
        return tier if isinstance(tier, str) else ""

    def _append_usage(self, events: list[Event]) -> None:
        """Append the counts so far, if both the prompt and the output are counted."""
        report = self._report
        prompt, output = count_at(report, "input_tokens"), count_at(report, "output_tokens")
        if prompt is None or output is None:
            return
        cached = count_at(report, "cache_read_input_tokens") or 0
        written = count_at(report, "cache_creation_input_tokens") or 0
        events.append(
            Usage(
                prompt_tokens=prompt + cached + written,
                completion_tokens=output,
                cached_tokens=cached,
                reasoning_tokens=count_at(report, "output_tokens_details", "thinking_tokens") or 0,
                cache_write_tokens=written,
                cache_write_1h_tokens=count_at(report, "cache_creation", "ephemeral_1h_input_tokens") or 0,
                service_tier=self._service_tier,
                web_searches=count_at(report, "server_tool_use", "web_search_requests") or 0,
                # A workspace may have one by default.
                is_regional=report.get("inference_geo") == "us",
            )
        )

    def _emit(self, delta: Delta, events: list[Event]) -> None:
        self.has_content = True
        events.append(delta)

    def complete(self, events: list[Event]) -> None:
        """Append the end and the usage, once a stop reason came; a missing `message_stop` alone does no harm."""
        if self._reason is None:
            raise StreamBroken("The model server's answer ended without a stop reason.")
        self.done = True
        for index in sorted({*self._calls, *self._cited}):  # whose end was lost
            self._stop(index, events)
        events.append(Finish(self._reason, stop=self._stop_sequence, service_tier=self._service_tier))
        self._append_usage(events)
