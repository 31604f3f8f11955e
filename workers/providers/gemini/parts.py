"""Images, audio and files of OpenAI's messages as Gemini's inline data. Pure.

Source of the shapes: google.ai.generativelanguage.v1beta (Blob); ai.google.dev, "Audio understanding" (formats).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from shared.errors import InvalidRequest
from shared.models.abilities import GEMINI_AUDIO, cannot_do
from shared.openai.image_types import encoded_image_type
from shared.openai.messages import AudioPart, FilePart, ImagePart
from workers.providers.images.remote import Image


def to_part(part: ImagePart | AudioPart | FilePart, where: str, images: Mapping[str, Image]) -> dict[str, Any]:
    """Return a part with inline data.

    Args:
        part: the message's part.
        where: its place in the request.
        images: the remote images, by URL.

    Raises:
        InvalidRequest: it is not data that can be sent; `param` names the place.
    """
    if isinstance(part, ImagePart):
        return _image(part.image_url.url, f"{where}.image_url.url", images)
    return _audio(part, where) if isinstance(part, AudioPart) else _file(part, where)


def _image(url: str, where: str, images: Mapping[str, Image]) -> dict[str, Any]:
    if url.startswith("data:"):
        given, encoded = _from_data_url(url, where, "image")
        mime_type = encoded_image_type(given, encoded)
        if not mime_type.startswith("image/"):
            raise InvalidRequest("The image's data URL must be of an image type.", param=where)
        return _inline(mime_type, encoded)
    image = images.get(url)
    if image is None:
        raise cannot_do(where)
    return _inline(image.mime_type, image.base64)


def _audio(part: AudioPart, where: str) -> dict[str, Any]:
    data, audio_format = part.input_audio.get("data"), part.input_audio.get("format")
    if audio_format not in GEMINI_AUDIO:
        raise cannot_do(f"{where}.input_audio.format")
    place = f"{where}.input_audio.data"
    return _inline(f"audio/{audio_format}", _checked(data, place, "audio"))


def _file(part: FilePart, where: str) -> dict[str, Any]:
    data = part.file.get("file_data")
    if not isinstance(data, str):
        raise cannot_do(f"{where}.file")
    place = f"{where}.file.file_data"
    return _inline(*_from_data_url(data, place, "file"))


def _from_data_url(url: str, where: str, kind: str) -> tuple[str, str]:
    """Return the type and the bare base64 text of a data URL."""
    head, comma, encoded = url.partition(",")
    mime_type, *options = head.removeprefix("data:").split(";")
    if not head.startswith("data:") or not comma or options[-1:] != ["base64"] or "/" not in mime_type:
        raise InvalidRequest(f"The {kind}'s data URL must name its type and be base64.", param=where)
    return mime_type.lower(), _checked(encoded, where, kind)


def _checked(encoded: Any, where: str, kind: str) -> str:
    try:
        base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise InvalidRequest(f"The {kind} is not valid base64.", param=where) from None
    return str(encoded)


def _inline(mime_type: str, encoded: str) -> dict[str, Any]:
    return {"inlineData": {"mimeType": mime_type, "data": encoded}}
