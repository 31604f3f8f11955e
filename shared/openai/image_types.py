"""The type of an image, by its bytes: what clients call it is often another type, or none. Pure.

OpenAI looks at the bytes; Claude and Gemini refuse `image/jpg`, and Claude an image that is not what it is called
(BerriAI/litellm#24900, home-assistant/core#167208). Sources of the signatures: the formats' own specifications.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

_SIGNATURES: Final = (
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
)
_ALIASES: Final = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-png": "image/png"}
_LOOKED_AT: Final = 16
"""Characters of base64: twelve bytes, as many as the longest signature has."""


def image_type(given: str, begin: bytes) -> str:
    """Return an image's type by its first bytes, else as it was given, under that type's proper name."""
    found = next((kind for signature, kind in _SIGNATURES if signature.match(begin)), None)
    return found or _ALIASES.get(given, given)


def encoded_image_type(given: str, encoded: str) -> str:
    """Return the type of an image that is base64, as `image_type` does."""
    try:
        begin = base64.b64decode(encoded[:_LOOKED_AT])
    except (binascii.Error, ValueError):
        begin = b""
    return image_type(given, begin)
