"""Earlier messages as clients keep them, brought into the form that OpenAI's document gives them. Pure."""

from __future__ import annotations

import re
from typing import Any, Final

# Earlier calls without their type, and parts of a tool's result that are no text.
MENDABLE: Final = re.compile(r"messages\[[^]]*\]\.(tool_calls|content)\[[^]]*\]\.type")

_THOUGHTS: Final = ("reasoning_content", "reasoning")


def completed(fields: dict[str, Any]) -> dict[str, Any]:
    """Return a request with earlier calls, thoughts and images as OpenAI's document has them.

    Calls name their type, what was only thought has a content, what an answer did not have (null, or no calls) is not
    there, and the images of tools' results follow in a message of the user: clients leave out the former, and few APIs
    take the latter where they stood. What is no request stays as it is.
    """
    given = fields.get("messages") if isinstance(fields, dict) else None
    if not isinstance(given, list):
        return fields
    messages: list[Any] = []
    images: list[Any] = []
    for message in given:
        if images and not (isinstance(message, dict) and message.get("role") == "tool"):
            messages.append({"role": "user", "content": images})
            images = []
        if isinstance(message, dict):
            _complete(message, images)
        messages.append(message)
    if images:
        messages.append({"role": "user", "content": images})
    fields["messages"] = messages
    return fields


def _complete(message: dict[str, Any], images: list[Any]) -> None:
    """Complete one message; what is moved out of a tool's result is appended to `images`."""
    calls, content = message.get("tool_calls"), message.get("content")
    if calls == []:
        del message["tool_calls"]
    if None in message.values():
        for name in [name for name, value in message.items() if value is None and name != "content"]:
            del message[name]
    for call in calls if isinstance(calls, list) else ():
        if isinstance(call, dict) and "function" in call:
            call["type"] = call.get("type") or "function"
    if not calls and any(isinstance(message.get(name), str) and message[name] for name in _THOUGHTS):
        message["content"] = content or ""
    if message.get("role") == "tool" and isinstance(content, list):
        found = [part for part in content if isinstance(part, dict) and part.get("type") == "image_url"]
        if found:
            rest = [part for part in content if part not in found]
            message["content"] = rest or "(The image follows.)"
            images += found
