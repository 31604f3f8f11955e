"""Parts of messages that servers of OpenAI's API write, or take, in more than one form. Pure.

Source of the content that is a list: Mistral's document (`ThinkChunk`, `TextChunk`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from workers.providers.replies.json_reader import read_any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.providers.images.remote import Image


def split_parts(parts: list[Any]) -> tuple[str, str]:
    """Return the text and the thinking of a content that is a list of parts."""
    text, thinking = "", ""
    for part in parts:
        if isinstance(part, dict) and "thinking" in part:
            thinking += _text_of(part["thinking"])
        else:
            text += _text_of(part)
    return text, thinking


def _text_of(part: Any) -> str:
    if isinstance(part, list):
        return "".join(map(_text_of, part))
    text = part.get("text") if isinstance(part, dict) else part
    return text if isinstance(text, str) else ""


def to_logprobs(given: msgspec.Raw) -> msgspec.Raw | None:
    """Return log probabilities as valid JSON, if they are of OpenAI's form: lists by name."""
    found = read_any(bytes(given))
    if not isinstance(found, dict) or not all(map(_are_tokens, found.values())):
        return None
    return msgspec.Raw(msgspec.json.encode(found))


def _are_tokens(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(token, dict) for token in value))


def with_data(message: dict[str, Any], images: Mapping[str, Image]) -> dict[str, Any]:
    """Return a message as the client sent it, with data URLs in the place of addresses."""
    if not isinstance(message.get("content"), list):
        return message
    parts = []
    for part in message["content"]:
        image = images.get(part["image_url"]["url"]) if part["type"] == "image_url" else None
        parts.append(part if image is None else {**part, "image_url": {**part["image_url"], "url": image.data_url}})
    return {**message, "content": parts}


def as_system(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message under the older name of its role: chat templates do not know `developer`."""
    return {**message, "role": "system"} if message["role"] == "developer" else message


def drop_empty(fields: dict[str, Any]) -> None:
    """Leave out what a request does not say: nulls, and a list of no tools with what is said of their calls.

    OpenAI takes a null in most places, others in few; none takes an empty list of tools.
    """
    if not fields.get("tools"):
        for name in ("tools", "tool_choice", "parallel_tool_calls"):
            fields.pop(name, None)
    for name in [name for name, value in fields.items() if value is None]:
        del fields[name]
    if "tools" in fields:
        fields["tools"] = [_without_nulls(tool) for tool in fields["tools"]]


def _without_nulls(tool: dict[str, Any]) -> dict[str, Any]:
    function = tool.get("function")
    if not isinstance(function, dict) or None not in function.values():
        return tool
    return {**tool, "function": {name: value for name, value in function.items() if value is not None}}
