"""Text that the gateway puts before a client's messages, as part of a chat request. Pure: no I/O, no clock.

It is instructions, in the order of `JobDraft.added`, and stands before those of the client: at the start of their text
where the conversation begins with instructions (a `system` or `developer` message), else as a `system` message of its
own. So an upstream that takes a single system text, at the beginning, still gets a single one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from shared.openai.messages import DeveloperMessage, SystemMessage, TextPart

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.errors import GatewayError
    from shared.openai.messages import Message
    from shared.types import AddedText

BETWEEN: Final = "\n\n"
"""Stands between two of the texts, and before the client's own."""
_PLACE: Final = re.compile(r"messages\[([0-9]{1,9})\]")


def joined(added: Sequence[AddedText]) -> str:
    """Return the texts as one."""
    return BETWEEN.join(each.text for each in added)


def put_first(text: str, messages: list[Message]) -> list[Message]:
    """Return the messages with a text before them."""
    head = messages[0]
    if not isinstance(head, SystemMessage | DeveloperMessage):
        return [SystemMessage(content=text), *messages]
    content = head.content
    with_text = _before(text, content) if isinstance(content, str) else [TextPart(text=text + BETWEEN), *content]
    return [msgspec.structs.replace(head, content=with_text), *messages[1:]]


def put_first_in_json(text: str, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages, as they are in JSON, with a text before them; each keeps every field of its own."""
    head = messages[0]
    if not _is_instruction(head):
        return [{"role": "system", "content": text}, *messages]
    content = head["content"]
    with_text = (
        _before(text, content) if isinstance(content, str) else [{"type": "text", "text": text + BETWEEN}, *content]
    )
    return [{**head, "content": with_text}, *messages[1:]]


def name_clients_places(error: GatewayError, more: int) -> None:
    """Change the places that an error names to those of the client's messages, before which so many more were sent."""

    def earlier(place: re.Match[str]) -> str:
        return f"messages[{max(0, int(place.group(1)) - more)}]"

    error.message = _PLACE.sub(earlier, error.message)
    if error.param:
        error.param = _PLACE.sub(earlier, error.param)


def _before(text: str, content: str) -> str:
    return text + BETWEEN + content if content else text


def _is_instruction(message: dict[str, Any]) -> bool:
    return message.get("role") in {"system", "developer"}
