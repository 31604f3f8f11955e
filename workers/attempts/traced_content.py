"""Prompts and answers as spans show them where that is asked for: the JSON of the conventions, bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from shared.openai.messages import (
    AssistantMessage,
    FunctionMessage,
    FunctionToolCall,
    RefusalPart,
    TextPart,
    ToolMessage,
)
from shared.openai.reply import CompletionFold
from shared.types import Finish

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shared.openai.messages import Message
    from shared.types import Event

MOST_TEXT_CHARS: Final = 16_384
"""Of one text: what is longer is cut."""
MOST_CONTENT_CHARS: Final = 65_536
"""Of all messages: earlier ones are left out, so that a batch of spans stays one that a collector takes."""
_MEDIA: Final = {"image_url": "image", "input_audio": "audio", "file": "document"}


def input_messages(messages: Sequence[Message]) -> str:
    """Return the messages of a request as JSON: texts and calls; of media only that there are some."""
    return _bounded([{"role": _role(message), "parts": list(_parts(message))} for message in messages])


class AnswerContent:
    """A model's answer, for a span."""

    def __init__(self) -> None:
        self._fold = CompletionFold()
        self._indexes: set[int] = set()
        self._chars = 0

    def add(self, event: Event) -> None:
        """Add what the model has said; what is too long is left out."""
        if isinstance(event, Finish) or self._chars < MOST_CONTENT_CHARS:
            self._fold.add(event)
            self._indexes.add(getattr(event, "index", 0))
            self._chars += len(getattr(event, "content", None) or "") + len(getattr(event, "reasoning", None) or "")

    def output_messages(self) -> str:
        """Return it as JSON, a message for each choice."""
        found = []
        for index in sorted(self._indexes):
            choice = self._fold.choice(index)
            parts = list(_answered(choice["message"]))
            # The conventions' word for an answer that did not come to an end.
            found.append({"role": "assistant", "parts": parts, "finish_reason": choice["finish_reason"] or "error"})
        return _bounded(found)


def _role(message: Message) -> str:
    return "tool" if isinstance(message, FunctionMessage) else str(message.__struct_config__.tag)


def _parts(message: Message) -> Iterator[dict[str, Any]]:
    if isinstance(message, ToolMessage | FunctionMessage):
        name = message.tool_call_id if isinstance(message, ToolMessage) else message.name
        yield {"type": "tool_call_response", "id": name, "response": _cut(_text_of(message.content))}
        return
    if isinstance(message, AssistantMessage) and message.reasoning_content:
        yield {"type": "reasoning", "content": _cut(message.reasoning_content)}
    content = message.content
    for part in [TextPart(text=content)] if isinstance(content, str) else content or ():
        if isinstance(part, TextPart):
            yield {"type": "text", "content": _cut(part.text)}
        elif isinstance(part, RefusalPart):
            yield {"type": "text", "content": _cut(part.refusal)}
        else:
            yield {"type": _MEDIA[str(part.__struct_config__.tag)]}
    if isinstance(message, AssistantMessage):
        for call in message.tool_calls or ():
            named = call.function if isinstance(call, FunctionToolCall) else None
            arguments = _cut(named.arguments) if named is not None else call.custom  # type: ignore[union-attr]  # the other kind of call
            yield {
                "type": "tool_call",
                "id": call.id,
                "name": "" if named is None else named.name,
                "arguments": arguments,
            }


def _answered(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if message.get("reasoning_content"):
        yield {"type": "reasoning", "content": _cut(message["reasoning_content"])}
    for name in ("content", "refusal"):
        if message.get(name):
            yield {"type": "text", "content": _cut(message[name])}
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        arguments = _cut(str(function.get("arguments", "")))
        yield {"type": "tool_call", "id": call.get("id"), "name": function.get("name"), "arguments": arguments}


def _text_of(content: str | Sequence[TextPart] | None) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content or ())


def _cut(text: str) -> str:
    return text if len(text) <= MOST_TEXT_CHARS else text[:MOST_TEXT_CHARS] + " [cut]"


def _bounded(messages: list[dict[str, Any]]) -> str:
    """Return messages as a JSON list, the last ones where all of them are too long."""
    kept: list[bytes] = []
    left = MOST_CONTENT_CHARS
    for message in reversed(messages):
        encoded = msgspec.json.encode(message)
        left -= len(encoded)
        if left < 0 and kept:
            break
        kept.append(encoded)
    return (b"[" + b",".join(reversed(kept)) + b"]").decode()
