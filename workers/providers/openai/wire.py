"""OpenAI's chat wire format as an upstream speaks it, turned into events. Pure: no I/O.

Source of the shapes: OpenAI's OpenAPI document, schemas CreateChatCompletionStreamResponse and
CreateChatCompletionResponse; `reasoning_content` and `reasoning` as DeepSeek, llama.cpp, vLLM and OpenRouter send them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from shared.errors import StreamBroken
from shared.types import Delta, Event, Finish, FinishReason, ToolCallDelta, Usage
from workers.providers.http.error_body import from_error, is_failure, stream_failure
from workers.providers.http.lines import EventReader
from workers.providers.openai.parts import split_content, to_citations, to_logprobs
from workers.providers.openai.plain import PlainChunks
from workers.providers.openai.shapes import NULL, Choice, Chunk, Message, ToolCall, checked_choices, to_chunk
from workers.providers.openai.usage import to_usage, with_counts_of
from workers.providers.replies.call_arguments import to_text
from workers.providers.replies.finish import finish_reason
from workers.providers.replies.json_reader import read_any
from workers.providers.replies.tool_calls import ToolCalls

if TYPE_CHECKING:
    from collections.abc import Collection


class ChatReader(EventReader):
    """Reads one reply, a stream of server-sent events or one JSON completion, into events.

    Older llama.cpp servers report a failure in a field `error` beside `data`.

    Args:
        names: of the tools that can be called.
        is_regional: whether the server is bound to a region.
        is_one: whether one choice was asked for, so that all of an answer is of it, whatever its parts are numbered by:
            some servers count from 1, or chunks, and some put calls into a choice of their own.
    """

    def __init__(self, names: Collection[str] = (), *, is_regional: bool = False, is_one: bool = False) -> None:
        super().__init__()
        self._is_regional, self._is_one = is_regional, is_one
        self._names = names
        self._usage: Usage | None = None
        self._service_tier = ""
        self._usage_was_alone = self._sent_usage = False
        self._finished: dict[int, Choice] = {}
        self._begun: set[int] = set()
        self._in_pieces: set[int] = set()
        self._spoken: set[int] = set()
        self._complaint: dict[str, Any] | None = None
        self._sources: list[Any] = []
        self._chars = 0
        self._is_cited = False
        self._call_ids: set[str] = set()
        self._calls: dict[int, ToolCalls] = {}
        self._plain = PlainChunks()

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that `data` completes."""
        plain = self._plain
        events: list[Event] = []
        if not plain.is_known and (size := plain.first(data)) < len(data):
            events = self._by_the_letter(data[:size])
            data = b"" if self.done or self.failure is not None else data[size:]
        if plain.is_known:
            texts, end = plain.run(data)
            events += self._plain_events(texts)
            data = data[end:]
        return [*events, *self._by_the_letter(data)] if data else events

    def _by_the_letter(self, data: bytes) -> list[Event]:
        events, plain = super().feed(data), self._plain
        plain.learn(data)
        # Only where another such chunk would do no more than add to a text that has begun.
        is_apart = not (self._name or self._data or self._bare)
        plain.is_known = plain.is_known and is_apart and (0 if self._is_one else plain.index) in self._in_pieces
        return events

    def _plain_events(self, texts: list[str]) -> list[Event]:
        index = 0 if self._is_one else self._plain.index
        if self._plain.is_thought:
            return [Delta(None, text, index=index) for text in texts if text]
        self._chars += sum(map(len, texts)) if index == 0 else 0
        return [Delta(text, index=index) for text in texts if text]

    def take_event(self, name: str, data: bytes, events: list[Event]) -> None:
        """Append the events of a chunk."""
        if data[1:] == self.end_mark:  # no JSON, which is found out at length otherwise
            self.complete(events)
            return
        self._take_chunk(to_chunk(data), name, data, events)

    def _take_chunk(self, chunk: Chunk, name: str, data: bytes, events: list[Event]) -> None:
        self._take_beside(chunk)
        report = chunk.report
        if report != NULL:
            self._take_usage(report, is_alone=not chunk.choices)
        if chunk.error and is_failure(chunk.error):
            self._fail(chunk.error)
        if not chunk.choices and report == NULL:
            self._take_unknown(name, data)
            return
        for choice in checked_choices(chunk.choices, self._finished):
            self._take_choice(choice, events)
        if self._usage is not None and not self._finished and not self._sent_usage:
            self._sent_usage = True
            events.append(self._usage)  # should the end never come

    def _take_beside(self, chunk: Chunk) -> None:
        """Keep what a chunk says of the whole reply."""
        if chunk.service_tier and isinstance(chunk.service_tier, str):
            self._service_tier = chunk.service_tier
        if chunk.citations or chunk.search_results:
            self._sources = chunk.search_results or chunk.citations or []

    def _take_choice(self, choice: Choice, events: list[Event]) -> None:
        if self._is_one:
            choice.index = 0
        piece, is_piece = choice.content
        if piece is not None and not is_piece and choice.message is not None and choice.index in self._in_pieces:
            piece = self._untold(choice.index, piece)
        if piece is not None:
            self._take_piece(choice, piece, events, is_piece=is_piece)
        # Not the end yet: some say a reason with every chunk, and some of them another one at last.
        if choice.end:
            self._reason(choice)
            self._finished[choice.index] = choice

    def _untold(self, index: int, message: Message) -> Message:
        """Return what a message says that has not come in pieces; MiniMax's last one tells all of it again."""
        content = None if index in self._spoken else message.content
        if self._calls.get(index):
            return Message(content=content)
        return Message(content=content, tool_calls=message.tool_calls, function_call=message.function_call)

    def take_whole(self, body: bytes, events: list[Event]) -> None:
        """Append the events of a completion that was not streamed: it is whole, also where it has no reason."""
        self._take_chunk(to_chunk(body, is_whole=True), "", body, events)
        for index in self._begun - self._finished.keys():
            self._finished[index] = Choice(index, finish_reason="stop")

    def take_field(self, name: bytes, value: bytes) -> None:
        """Raise the failure that a field `error` reports."""
        if name == b"error":
            self._fail(read_any(value))

    def _take_usage(self, report: Raw, *, is_alone: bool) -> None:
        """Record the usage of a chunk.

        llama.cpp sends a chunk of them for each of `n` choices; counts beside choices are cumulative (vLLM).
        """
        usage = to_usage(report)
        if usage is None:
            return
        usage.is_regional = self._is_regional
        is_one_of_many = is_alone and self._usage_was_alone and len(self._begun | self._finished.keys()) > 1
        before = self._usage if is_one_of_many else None
        if before is not None:
            completion_tokens = usage.completion_tokens + before.completion_tokens
            usage = msgspec.structs.replace(usage, completion_tokens=completion_tokens)
        elif self._usage is not None and not (usage.prompt_tokens and usage.completion_tokens):
            usage = with_counts_of(self._usage, usage)
        self._usage, self._usage_was_alone = usage, is_alone

    def _take_piece(self, choice: Choice, piece: Message, events: list[Event], *, is_piece: bool) -> None:
        calls = None
        if piece.tool_calls or piece.function_call is not None:
            calls = self._tool_calls(choice.index, piece, is_whole=not is_piece)
        content, thinking = piece.content, ""
        if content is not None and not isinstance(content, str):
            content, thinking, images = split_content(content)
            if images:
                piece.images = [*images, *(piece.images or ())]
        delta = Delta(
            content or None,
            piece.thoughts or thinking or None,
            piece.refusal or None,
            calls,
            to_logprobs(choice.logprobs) if choice.logprobs != NULL else None,
            choice.index,
            piece.annotations or None,
            piece.extra if piece.reasoning_details or piece.extra_content or piece.images else None,
        )
        self._chars += len(delta.content or "") if choice.index == 0 else 0
        self._is_cited = self._is_cited or delta.annotations is not None
        has_output = delta.content or delta.reasoning or calls or delta.refusal or delta.annotations or delta.extra
        if has_output or delta.logprobs is not None:
            self._begun.add(choice.index)
            if is_piece:
                self._in_pieces.add(choice.index)
            if delta.content:
                self._spoken.add(choice.index)
            self.has_content = True
            events.append(delta)

    def _tool_calls(self, choice: int, piece: Message, *, is_whole: bool) -> list[ToolCallDelta] | None:
        """Return what is new of the calls; those of a message that is not streamed are one each."""
        known = self._calls.get(choice)
        if known is None:
            known = self._calls[choice] = ToolCalls(self._call_ids, self._names)
        pieces = [call.to_piece() for call in piece.tool_calls or (ToolCall(index=0, function=piece.function_call),)]
        if is_whole:
            calls = [call for call in pieces if call.is_call]
            found = [known.add(call.name or "", call.id, to_text(call.arguments), call.extra_content) for call in calls]
        else:
            found = known.take(pieces)
        return found or None

    def _reason(self, choice: Choice) -> FinishReason:
        unknown: FinishReason | None = "stop" if self.has_content else None
        has_calls = bool(self._calls.get(choice.index))
        reason = finish_reason(choice.end, has_calls=has_calls, unknown=unknown)
        if reason is None:
            raise stream_failure(from_error({"code": choice.end}), after_content=self.has_content)
        return reason

    def _take_unknown(self, name: str, payload: bytes) -> None:
        """Fail for error events that are the error object itself, as vLLM's older ones; drop all else without choices.

        What may be one (`{"message": ...}`, `{"detail": ...}`) is one if the answer never ends.
        """
        decoded = read_any(payload)
        if not isinstance(decoded, dict):
            return
        if name == "error" or decoded.get("object") == "error":
            self._fail(decoded)
        if from_error(decoded).message:
            self._complaint = decoded

    def _fail(self, error: Any) -> None:
        raise stream_failure(from_error(error), after_content=self.has_content)

    def complete(self, events: list[Event]) -> None:
        """Append the ends and the usage, once every choice has ended; a missing `[DONE]` alone does no harm."""
        if not self._finished or not self._begun <= self._finished.keys():
            if self._complaint is not None:
                self._fail(self._complaint)
            raise StreamBroken("The model server's answer ended without a finish reason.")
        self.done = True
        if not self._is_cited and (annotations := to_citations(self._sources, self._chars)):
            events.append(Delta(annotations=annotations))
        for index, choice in self._finished.items():
            calls = self._calls.get(index)
            if calls and (held_back := calls.rest()):
                events.append(Delta(tool_calls=held_back, index=index))
            events.append(Finish(self._reason(choice), index, choice.stop_reason, self._service_tier))
        if self._usage is not None:
            events.append(msgspec.structs.replace(self._usage, service_tier=self._service_tier))
