"""Messages of sessions: what a client's own copy is known again by, their text, and what is kept of large ones."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import msgspec

from shared.openai.prompt_size import estimate_text_tokens
from shared.openai.sessions.history import INSTRUCTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_MESSAGE_BYTES: Final = 256 * 1024
"""A message whose JSON is longer is kept without its images, sounds and files: a phone's photo has megabytes, and
would be sent again with every later turn."""
RESULTS: Final = frozenset({"tool", "function"})
_MEDIA: Final = {
    "image_url": "(There was an image here.)",
    "input_audio": "(There was a sound here.)",
    "file": "(There was a file here.)",
}
_MESSAGE_TOKENS: Final = 4
_MEDIA_TOKENS: Final = 1_500
_encode: Final = msgspec.json.encode


def digest_of(message: dict[str, Any]) -> bytes:
    """Return what two copies of a message have in common, however their clients write it; 16 bytes.

    Blanks around a text, texts in one part or several, null fields and how calls' arguments are written make no
    difference; nor do fields that only answers have.
    """
    role = message.get("role")
    identity: list[Any] = ["system" if role in INSTRUCTIONS else role, _text(message).strip()]
    identity += [_encode(part) for part in _parts(message) if part.get("type") in _MEDIA]
    identity += [_call(call) for call in calls_of(message)]
    identity += [message.get("tool_call_id") or message.get("name") if role in RESULTS else None]
    return hashlib.blake2b(_encode(identity), digest_size=16).digest()


def text_of(message: dict[str, Any]) -> str:
    """Return the text of a message that people read, in a form that UTF-8 can hold."""
    return _text(message).encode("utf-8", "replace").decode()


def tokens_of(message: dict[str, Any]) -> int:
    """Return about how many tokens a message has."""
    # As they were sent: what they are in JSON is not read for an estimate.
    calls = "".join(map(str, (value for call in calls_of(message) for value in _name_and_arguments(call))))
    media = sum(part.get("type") in _MEDIA for part in _parts(message))
    return estimate_text_tokens(_text(message) + calls) + _MESSAGE_TOKENS + _MEDIA_TOKENS * media


def calls_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the calls that a message makes, a legacy one without an id among them."""
    calls = message.get("tool_calls")
    found = [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    legacy = message.get("function_call")
    return [*found, {"function": legacy}] if isinstance(legacy, dict) else found


def call_ids(message: dict[str, Any]) -> frozenset[str]:
    """Return the ids by which results name the calls of a message; of a legacy call its name."""
    return frozenset(each_call_id(message))


def each_call_id(message: dict[str, Any]) -> Iterator[str]:
    """Yield the same for each of the calls, also where two have one id."""
    return (str(call.get("id") or _function(call).get("name")) for call in calls_of(message))


def result_id(message: dict[str, Any]) -> str | None:
    """Return the id of the call that a message is the result of; None for any other message."""
    if message.get("role") not in RESULTS:
        return None
    return str(message.get("tool_call_id") or message.get("name"))


def has_media(message: dict[str, Any]) -> bool:
    """Return whether a message has images, sounds or files."""
    return any(part.get("type") in _MEDIA for part in _parts(message))


def without_media(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message with a note in the place of each image, sound and file."""
    if not has_media(message):
        return message
    parts = [
        {"type": "text", "text": _MEDIA[part["type"]]}
        if isinstance(part, dict) and part.get("type") in _MEDIA
        else part
        for part in message["content"]
    ]
    return {**message, "content": parts}


def _text(message: dict[str, Any]) -> str:
    content = message.get("content")
    texts = [content] if isinstance(content, str) else list(_texts(message))
    if isinstance(refusal := message.get("refusal"), str):
        texts.append(refusal)
    return "\n".join(texts)


def _texts(message: dict[str, Any]) -> Iterator[str]:
    for part in _parts(message):
        text = part.get("text") if part.get("type") == "text" else part.get("refusal")
        if isinstance(text, str):
            yield text


def _parts(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    return [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []


def _function(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function") or call.get("custom")
    return function if isinstance(function, dict) else {}


def _name_and_arguments(call: dict[str, Any]) -> tuple[Any, Any]:
    function = _function(call)
    return function.get("name"), function.get("arguments", function.get("input"))


def _call(call: dict[str, Any]) -> tuple[Any, Any, str]:
    name, arguments = _name_and_arguments(call)
    try:
        canonical = msgspec.json.encode(msgspec.json.decode(arguments), order="deterministic").decode()
    except (msgspec.DecodeError, TypeError, UnicodeError, RecursionError):
        canonical = str(arguments)
    return call.get("id"), name, canonical
