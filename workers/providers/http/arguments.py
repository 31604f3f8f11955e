"""Tool-call arguments, which are a JSON text in OpenAI's API and an object in others."""

from __future__ import annotations

from typing import Any, Final

import msgspec

UNREADABLE: Final = "unreadable_arguments"
"""Field of arguments that are no object, so that the model sees what it wrote."""


def to_object(text: str) -> dict[str, Any]:
    """Return the arguments of a call as an object; no text at all is a call without arguments.

    A model's arguments may have been cut off, and the conversation goes on all the same.
    """
    if not text.strip():
        return {}
    try:
        arguments = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        arguments = None
    return arguments if isinstance(arguments, dict) else {UNREADABLE: text}
