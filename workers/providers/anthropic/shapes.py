"""The shapes of what Anthropic's API answers. Pure.

Source: Anthropic's Messages API (RawMessageStreamEvent, ContentBlock, Message) and its streaming page.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Raw, Struct

from workers.providers.replies.finish import End
from workers.providers.replies.json_reader import Text, Word, json_reader
from workers.providers.replies.wrapped import has_any, unwrapped

NULL = Raw(b"null")


class StopDetails(Struct):
    """The reason why the answer stopped, in words."""

    explanation: str | None = None


class BlockDelta(Struct):
    """The new part of a block, or of the message."""

    text: Text | None = None
    thinking: Text | None = None
    signature: str | None = None
    partial_json: Text | None = None
    citation: Any = None
    stop_reason: End | None = None
    stop_sequence: str | None = None
    stop_details: StopDetails | None = None


class Block(Struct):
    """A block of content, or its beginning."""

    type: str | None = None
    text: Text | None = None
    thinking: Text | None = None
    signature: str | None = None
    data: str | None = None
    id: Word | None = None
    name: Word | None = None
    input: dict[str, Any] | str | None = None
    citations: list[Any] | None = None

    @property
    def kind(self) -> str:
        """Return its type, or that of what it has."""
        if self.type is not None:
            return self.type
        if self.name is not None:
            return "tool_use"
        if self.data is not None:
            return "redacted_thinking"
        return "text" if self.thinking is None else "thinking"


class Message(Struct):
    """A message as its first event has it."""

    usage: Raw = NULL


class StreamEvent(Struct):
    """A stream's event, or a message that was not streamed."""

    type: str | None = None
    index: int | None = None
    message: Message | None = None
    content_block: Block | None = None
    delta: BlockDelta | None = None
    usage: Raw = NULL
    error: Any = None
    content: list[Block] | Text | None = None
    stop_reason: End | None = None
    stop_sequence: str | None = None
    stop_details: StopDetails | None = None


_read_event: Final = json_reader(StreamEvent, takes_anything=True)
_NOTHING: Final = StreamEvent()
_is_event: Final = has_any("type", "content", "content_block", "delta", "error")


def read_event(data: bytes) -> StreamEvent:
    """Return an event, or a whole message, wherever it stands.

    Raises:
        Malformed: it is no JSON.
    """
    event = _read_event(data)
    if event == _NOTHING and (inner := unwrapped(data, _is_event)) is not None:
        return _read_event(inner)
    return event
