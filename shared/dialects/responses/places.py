"""Places in the client's request of what stands in a chat's messages and tools. Pure."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from shared.dialects.responses.names import field_name

_MESSAGE: Final = re.compile(r"messages\[([0-9]{1,9})\](?:\.(.*))?", re.DOTALL)
_TOOL: Final = re.compile(r"tools\[([0-9]{1,9})\](?:\.(.*))?", re.DOTALL)
_CALL: Final = re.compile(r"tool_calls\[([0-9]{1,9})\](?:\.(.*))?", re.DOTALL)
_PART: Final = re.compile(r"content(\[[0-9]{1,9}\])?(?:\.(.*))?", re.DOTALL)
_IN_CALL: Final = {"id": "call_id", "function.arguments": "arguments", "function.name": "name"}
_IN_PART: Final = {"image_url.url": "image_url", "image_url.detail": "detail"}


class MessagePlace(msgspec.Struct):
    """The place of a message of the chat in the client's request.

    Args:
        item: the client's item.
        content: what its content was there.
        calls: the items that became its calls.
    """

    item: str
    content: str
    calls: list[str] = []

    def named(self, rest: str) -> str:
        """Return the client's name of what stands in the message."""
        if call := _CALL.fullmatch(rest):
            number, inner = int(call.group(1)), call.group(2) or ""
            item = self.calls[number] if number < len(self.calls) else self.item
            return _joined(item, _IN_CALL.get(inner, inner))
        if part := _PART.fullmatch(rest):
            inner = part.group(2) or ""
            inner = _IN_PART.get(inner, inner.removeprefix("file.").removesuffix("file"))
            return _joined(self.content + (part.group(1) or ""), inner)
        return _joined(self.item, "call_id" if rest == "tool_call_id" else rest) if "[" in self.item else self.item


class Places(msgspec.Struct):
    """The places of messages and tools, by their numbers in the chat."""

    messages: list[MessagePlace] = []
    tools: list[str] = []

    def named(self, param: str) -> str:
        """Return the client's name of a parameter of the chat."""
        if (message := _MESSAGE.fullmatch(param)) and int(message.group(1)) < len(self.messages):
            return self.messages[int(message.group(1))].named(message.group(2) or "")
        if (tool := _TOOL.fullmatch(param)) and int(tool.group(1)) < len(self.tools):
            return _joined(self.tools[int(tool.group(1))], (tool.group(2) or "").removeprefix("function."))
        return field_name(param)


def _joined(place: str, rest: str) -> str:
    return f"{place}.{rest}" if rest else place
