"""OpenAI's content parts as Anthropic's content blocks. Pure.

Source of the shapes: Anthropic's Messages API (TextBlockParam, ImageBlockParam, DocumentBlockParam).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

from shared.errors import InvalidRequest, Unsupported
from shared.models.abilities import COMMON_IMAGES, cannot_do
from shared.openai.image_types import encoded_image_type
from shared.openai.messages import AudioPart, Cacheable, FilePart, ImagePart, RefusalPart, TextPart


def to_text(content: str | list[TextPart] | list[TextPart | RefusalPart] | None) -> str:
    """Return all the text of a message, refusals included."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.refusal if isinstance(part, RefusalPart) else part.text for part in content)


def to_blocks(content: str | list[TextPart | ImagePart | AudioPart | FilePart], place: str) -> list[dict[str, Any]]:
    """Return a user message's blocks. Text without anything but white space is left out: Anthropic rejects it.

    Args:
        content: the message's content.
        place: the message in OpenAI's notation, for errors.

    Raises:
        InvalidRequest: Anthropic cannot take a part; `param` names it.
    """
    if isinstance(content, str):
        return text_blocks(content)
    blocks: list[dict[str, Any]] = []
    for number, part in enumerate(content):
        where = f"{place}.content[{number}]"
        if isinstance(part, TextPart):
            blocks += text_blocks(part.text)
        elif isinstance(part, ImagePart):
            blocks.append({"type": "image", "source": _image_source(part.image_url.url, f"{where}.image_url.url")})
        elif isinstance(part, FilePart):
            blocks.append(_to_document(part.file, f"{where}.file"))
        else:
            raise cannot_do(where)
        mark_last(blocks, part.cache_mark)
    return blocks


def mark_last(blocks: list[dict[str, Any]], mark: dict[str, Any] | None) -> None:
    """Mark the end of what shall be cached: the last block that can have a mark, as thoughts cannot."""
    if mark is not None:
        for block in reversed(blocks):
            if block["type"] not in {"thinking", "redacted_thinking"}:
                block["cache_control"] = mark
                return


def mark_of(message: Cacheable, content: Sequence[object] | str | None) -> dict[str, Any] | None:
    """Return the last cache mark of a message whose parts become one block."""
    parts = () if content is None or isinstance(content, str) else content
    marks = [part.cache_mark for part in parts if isinstance(part, Cacheable)]
    return next((mark for mark in (message.cache_mark, *reversed(marks)) if mark is not None), None)


def text_blocks(text: str) -> list[dict[str, Any]]:
    """Return a text as a block, or none if it is blank."""
    return [{"type": "text", "text": text}] if text.strip() else []


def _image_source(url: str, where: str) -> dict[str, Any]:
    """Return an image's source; one by address is fetched by Anthropic itself."""
    if url.startswith(("http://", "https://")):
        return {"type": "url", "url": url}
    given, data = _from_data_url(url, where)
    media_type = encoded_image_type(given, data)
    if media_type not in COMMON_IMAGES:
        raise Unsupported("This model takes JPEG, PNG, GIF and WebP images.", param=where)
    return {"type": "base64", "media_type": media_type, "data": data}


def _to_document(file: dict[str, Any], where: str) -> dict[str, Any]:
    """Return a PDF or plain text as a document; a file's id would be OpenAI's, and means nothing here."""
    encoded = file.get("file_data")
    if not isinstance(encoded, str):
        raise Unsupported("This model takes files as file_data only.", param=where)
    where = f"{where}.file_data"
    media_type, data = _from_data_url(encoded, where)
    if media_type == "application/pdf":
        source = {"type": "base64", "media_type": media_type, "data": data}
    elif media_type == "text/plain":
        try:
            text = base64.b64decode(data).decode()
        except UnicodeDecodeError:
            raise InvalidRequest("The text file is not UTF-8.", param=where) from None
        source = {"type": "text", "media_type": media_type, "data": text}
    else:
        raise Unsupported("This model takes PDF and plain text files.", param=where)
    block: dict[str, Any] = {"type": "document", "source": source}
    # The model may refer to it by this name.
    if isinstance(file.get("filename"), str):
        block["title"] = file["filename"]
    return block


def _from_data_url(url: str, where: str) -> tuple[str, str]:
    """Return the media type and the base64 text of a data URL."""
    head, comma, encoded = url.partition(",")
    if not head.startswith("data:") or not comma or not head.endswith(";base64"):
        raise InvalidRequest("It must be a base64 data URL, or for images an http(s) address.", param=where)
    try:
        base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest("The data URL is not valid base64.", param=where) from None
    return head[5:].partition(";")[0].lower(), encoded
