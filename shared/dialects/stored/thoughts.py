"""Encrypted thoughts that are stored with a response, though its client has not asked for them. Pure.

OpenAI stores nothing of what goes there, so its models can think on only with what they get back. The gateway asks for
it where it stores the response, and keeps it under a name of its own, which no client sees.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from shared.dialects.stored.items import as_listed

FIELD: Final = b'"encrypted_content"'
"""Field of an item that can be hidden, in JSON."""
HIDDEN: Final = "claw_encrypted_content"


def hidden(item: Any) -> Any:
    """Return an item of an answer as it is stored where its client has not asked for encrypted thoughts."""
    if not isinstance(item, dict) or item.get("type") != "reasoning" or not item.get("encrypted_content"):
        return item
    return {HIDDEN if name == "encrypted_content" else name: value for name, value in item.items()}


def shown(item: Any) -> Any:
    """Return a stored item as a client sees it that has not asked for encrypted thoughts."""
    if not isinstance(item, dict) or HIDDEN not in item:
        return item
    return {name: value for name, value in item.items() if name != HIDDEN}


def given(item: Any) -> Any:
    """Return a stored item as a model gets it, or a client that asks for encrypted thoughts."""
    if not isinstance(item, dict) or HIDDEN not in item:
        return item
    return {"encrypted_content" if name == HIDDEN else name: value for name, value in item.items()}


def item_as_shown(item: bytes, *, has_thoughts: bool) -> bytes:
    """Return a stored item, as JSON, as a client sees it in a list.

    Args:
        item: the item.
        has_thoughts: whether the client asks for encrypted thoughts.
    """
    return msgspec.json.encode(as_listed((given if has_thoughts else shown)(msgspec.json.decode(item))))


def as_shown(body: bytes, *, has_thoughts: bool) -> bytes:
    """Return a stored response, as JSON, as a client sees it.

    Args:
        body: the response object.
        has_thoughts: whether the client asks for encrypted thoughts.
    """
    if HIDDEN.encode() not in body:
        return body
    response = msgspec.json.decode(body)
    change = given if has_thoughts else shown
    return msgspec.json.encode({**response, "output": list(map(change, response.get("output") or ()))})
