"""OpenAI's messages as Ollama's /api/chat takes them. Pure: no I/O.

Source of the shapes: Ollama's api/types.go (Message, ToolCall) and docs/api.md.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from shared.errors import InvalidRequest
from shared.models.abilities import cannot_do
from shared.openai.messages import (
    AssistantMessage,
    CustomToolCall,
    FunctionMessage,
    FunctionToolCall,
    ImagePart,
    Message,
    RefusalPart,
    TextPart,
    ToolMessage,
    UserMessage,
)
from workers.providers.http.arguments import to_object
from workers.providers.images.remote import Image


def to_messages(messages: list[Message], images: Mapping[str, Image]) -> list[dict[str, Any]]:
    """Return the conversation in Ollama's form. A participant's `name` and an image's `detail` have no place there.

    Args:
        messages: the client's.
        images: those that it named by address, by URL.

    Raises:
        InvalidRequest: a message holds what Ollama cannot take; `param` names the place.
    """
    called: dict[str, list[str]] = {}
    return [_to_message(message, f"messages[{number}]", called, images) for number, message in enumerate(messages)]


def _to_message(
    message: Message, place: str, called: dict[str, list[str]], images: Mapping[str, Image]
) -> dict[str, Any]:
    if isinstance(message, UserMessage):
        return _to_user(message, place, images)
    if isinstance(message, AssistantMessage):
        return _to_assistant(message, place, called)
    if isinstance(message, ToolMessage):
        names = called.get(message.tool_call_id)
        if names is None:
            raise InvalidRequest(
                f"No tool call before {place} has the id '{message.tool_call_id}'.", param=f"{place}.tool_call_id"
            )
        # Some models give one id to two calls: their results come in the order of the calls.
        name = names.pop(0) if len(names) > 1 else names[0]
        # Ollama's templates know a result by its tool's name; newer versions also take the id.
        text = _text(message.content)
        return {"role": "tool", "content": text, "tool_name": name, "tool_call_id": message.tool_call_id}
    if isinstance(message, FunctionMessage):
        return {"role": "tool", "content": message.content or "", "tool_name": message.name}
    return {"role": "system", "content": _text(message.content)}


def _text(content: str | list[TextPart]) -> str:
    return content if isinstance(content, str) else "\n".join(part.text for part in content)


def _to_user(message: UserMessage, place: str, fetched: Mapping[str, Image]) -> dict[str, Any]:
    if isinstance(message.content, str):
        return {"role": "user", "content": message.content}
    texts: list[str] = []
    images: list[str] = []
    for number, part in enumerate(message.content):
        where = f"{place}.content[{number}]"
        if isinstance(part, TextPart):
            texts.append(part.text)
        elif isinstance(part, ImagePart):
            images.append(_to_image(part.image_url.url, f"{where}.image_url.url", fetched))
        else:
            raise cannot_do(where)
    fields: dict[str, Any] = {"role": "user", "content": "\n".join(texts)}
    if images:
        fields["images"] = images
    return fields


def _to_image(url: str, where: str, fetched: Mapping[str, Image]) -> str:
    """Return the bare base64 text of an image."""
    if url in fetched:
        return fetched[url].base64
    head, comma, encoded = url.partition(",")
    if not head.startswith("data:"):
        raise cannot_do(where)
    if not comma or not head.endswith(";base64"):
        raise InvalidRequest("The image's data URL must be base64.", param=where)
    try:
        base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest("The image's data URL is not valid base64.", param=where) from None
    return encoded


def _to_assistant(message: AssistantMessage, place: str, called: dict[str, list[str]]) -> dict[str, Any]:
    if message.audio is not None:
        raise cannot_do(f"{place}.audio")
    fields: dict[str, Any] = {"role": "assistant", "content": _assistant_text(message)}
    if message.thoughts:
        fields["thinking"] = message.thoughts
    calls = []
    mine: dict[str, list[str]] = {}
    for number, call in enumerate(message.tool_calls or ()):
        where = f"{place}.tool_calls[{number}]"
        calls.append(_to_tool_call(call, where))
        if isinstance(call, FunctionToolCall):
            mine.setdefault(call.id, []).append(call.function.name)
    # An id that an earlier turn had too means this turn's call from here on.
    called |= mine
    if message.function_call is not None:
        arguments = to_object(message.function_call.arguments)
        calls.append({"function": {"name": message.function_call.name, "arguments": arguments}})
    if calls:
        fields["tool_calls"] = calls
    return fields


def _assistant_text(message: AssistantMessage) -> str:
    content = message.content
    if content is None:
        return message.refusal or ""
    if isinstance(content, str):
        return content
    return "\n".join(part.refusal if isinstance(part, RefusalPart) else part.text for part in content)


def _to_tool_call(call: FunctionToolCall | CustomToolCall, where: str) -> dict[str, Any]:
    if isinstance(call, CustomToolCall):
        raise cannot_do(f"{where}.type")
    arguments = to_object(call.function.arguments)
    return {"id": call.id, "function": {"name": call.function.name, "arguments": arguments}}
