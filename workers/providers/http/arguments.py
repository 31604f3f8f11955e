"""Tool-call arguments, which are a JSON text in OpenAI's API and an object in others."""

from __future__ import annotations

from typing import Any

import msgspec

from shared.errors import InvalidRequest


def to_object(text: str, where: str) -> dict[str, Any]:
    """Return the arguments of a call as an object; no text at all is a call without arguments.

    Args:
        text: as the client sent it.
        where: the parameter that holds it, for the error.

    Raises:
        InvalidRequest: it is not a JSON object.
    """
    if not text.strip():
        return {}
    try:
        arguments = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise InvalidRequest("A tool call's arguments must be a JSON object.", param=where)
    return arguments
