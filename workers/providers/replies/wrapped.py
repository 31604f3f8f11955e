"""Replies and events that a proxy hands on inside of an object of its own. Pure.

Sources: smallmain/vscode-unify-chat-provider#71 (`data`), Google's Code Assist (`response`), Cloudflare's Workers AI
(`result`), Alibaba's DashScope (`output`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from shared.errors import Malformed
from workers.providers.replies.json_reader import read_any

if TYPE_CHECKING:
    from collections.abc import Callable

WRAPPERS: Final = ("data", "response", "result", "output", "body", "payload", "completion", "chunk")
_MOST_WRAPPERS: Final = 3


def unwrapped(data: bytes, is_it: Callable[[dict[str, Any]], Any]) -> bytes | None:
    """Return what stands inside of an object or a text; None where nothing does, or what is given is no wrapper.

    Args:
        data: JSON.
        is_it: whether an object is a reply, or an event, of the API.
    """
    value = given = read_any(data)
    for _ in range(_MOST_WRAPPERS + 1):
        value = _decoded(value)
        if not isinstance(value, dict):
            return None
        if is_it(value):
            return None if value is given else msgspec.json.encode(value)
        value = next((value[name] for name in WRAPPERS if value.get(name)), None)
    return None


def has_any(*fields: str) -> Callable[[dict[str, Any]], bool]:
    """Return a function that tells whether an object has one of these fields, with something in it."""
    return lambda value: any(map(value.get, fields))


def _decoded(value: Any) -> Any:
    """Return an object that came as a text, or as the only one of a list."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            return read_any(value.encode(errors="replace"))
        except Malformed:
            return None
    return value
