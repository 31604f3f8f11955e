"""Parts of messages that servers of OpenAI's API write, or take, in more than one form. Pure.

Sources: of the content that is a list Mistral's document (`ThinkChunk`, `TextChunk`), of images in answers OpenRouter's
("Image Generation": `images` beside the content, of parts as requests have them).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from workers.providers.replies.json_reader import are_parts, part_text, read_any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.providers.images.remote import Image

PLAIN_TEXT: Final = "messages[].content"
"""Rejection of a server that takes a text as content, and neither parts of it nor nothing."""
_WORDLESS: Final = frozenset({"reference", "tool_reference"})
"""Parts of Mistral's that say only what stands elsewhere in its answer."""


def split_content(content: Any) -> tuple[str, str, list[Any]]:
    """Return the text, the thinking and the images of a content that is no text: parts, or what a server decoded."""
    text, thinking = "", ""
    images: list[Any] = []
    parts = [content] if isinstance(content, dict) else content
    if not isinstance(parts, list) or not are_parts(parts):
        return part_text(content), thinking, images
    for part in parts:
        if isinstance(part, dict) and "thinking" in part:
            thinking += part_text(part["thinking"])
        elif isinstance(part, dict) and part.get("type") == "reasoning":
            thinking += part_text(part.get("text") or part.get("summary") or "")
        elif isinstance(part, dict) and "image_url" in part:
            images.append(part)
        elif not isinstance(part, dict) or part.get("type") not in _WORDLESS:
            text += part_text(part)
    return text, thinking, images


def detailed_text(details: list[Any]) -> str | None:
    """Return the text of OpenRouter's `reasoning_details`, for servers that send nothing else of it."""
    given = [detail.get("text") or detail.get("summary") for detail in details if isinstance(detail, dict)]
    return "".join(text for text in given if isinstance(text, str)) or None


def to_citations(sources: list[Any], size: int) -> list[dict[str, Any]]:
    """Return what an answer is from as OpenAI's annotations, each of the whole of it: no place is named.

    Args:
        sources: addresses, or objects that have a `url` and may have a `title`, as Perplexity sends both.
        size: of the answer, in characters.
    """
    found: dict[str, dict[str, Any]] = {}
    for source in sources:
        about = source if isinstance(source, dict) else {"url": source}
        url, title = about.get("url"), about.get("title")
        if isinstance(url, str) and url:
            place = {"start_index": 0, "end_index": size, "url": url}
            citation = {**place, "title": title if isinstance(title, str) and title else url}
            found.setdefault(url, {"type": "url_citation", "url_citation": citation})
    return list(found.values())


def to_logprobs(given: msgspec.Raw) -> msgspec.Raw | None:
    """Return log probabilities as valid JSON, if they are of OpenAI's form: lists by name."""
    found = read_any(bytes(given))
    if not isinstance(found, dict) or not all(map(_are_tokens, found.values())):
        return None
    return msgspec.Raw(msgspec.json.encode({"content": None, "refusal": None} | found))


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


def with_plain_text(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message whose content is one text, where it has no other parts."""
    content = message.get("content")
    if content is None:
        return {**message, "content": ""}
    if not isinstance(content, list) or not all(isinstance(part.get("text"), str) for part in content):
        return message
    return {**message, "content": "\n".join(part["text"] for part in content)}


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
