"""Fields of messages that OpenAI does not name: what servers want back with the next request, and images. Pure.

Sources: OpenRouter's "Reasoning tokens" (`reasoning_details`: what comes in pieces is told apart by `index`); Google's
"OpenAI compatibility" (`extra_content.google.thought_signature`); OpenRouter's "Image Generation" (`images`: parts as
requests have them, in a stream each once); DeepSeek's and llama.cpp's `reasoning_content`.
"""

from __future__ import annotations

from typing import Any, Final

REPLY_FIELDS: Final = ("reasoning_content", "reasoning", "reasoning_details", "extra_content", "annotations")
"""Fields of answers, and so of histories, that not every server takes back."""
_TEXTS: Final = frozenset({"text", "summary"})


def add_extra(known: dict[str, Any], new: dict[str, Any]) -> None:
    """Add what is new of a message's further fields to what is known of them."""
    for name, value in new.items():
        if name == "reasoning_details":
            known[name] = _joined(known.get(name, []), value)
        elif isinstance(value, list):
            known[name] = [*known.get(name, ()), *value]
        else:
            known[name] = {**known.get(name, {}), **value}


def _joined(known: list[Any], pieces: list[Any]) -> list[Any]:
    """Return details with further pieces: a text goes on where the last one of its index ended."""
    joined = list(known)
    for piece in pieces:
        last: Any = joined[-1] if joined else None
        if _goes_on(last, piece):
            texts = {name: (last.get(name) or "") + (piece.get(name) or "") for name in _TEXTS & {*last, *piece}}
            joined[-1] = {**last, **{name: value for name, value in piece.items() if value is not None}, **texts}
        else:
            joined.append(piece)
    return joined


def _goes_on(last: Any, piece: Any) -> bool:
    if not isinstance(last, dict) or not isinstance(piece, dict) or piece.get("index") is None:
        return False
    is_same = all(last.get(name) == piece.get(name) for name in ("type", "index"))
    return (
        is_same
        and all(isinstance(one.get(name) or "", str) for one in (last, piece) for name in _TEXTS)
        and (not _TEXTS.isdisjoint(piece) or "signature" in piece)
    )


def without_reply_fields(messages: list[Any]) -> list[Any]:
    """Return messages without the fields that stand in answers alone; of what was only thought the place is left."""
    return [_stripped(message) if isinstance(message, dict) else message for message in messages]


def _stripped(message: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in message.items() if name not in REPLY_FIELDS}
    if isinstance(kept.get("tool_calls"), list):
        kept["tool_calls"] = [
            {name: value for name, value in call.items() if name != "extra_content"} if isinstance(call, dict) else call
            for call in kept["tool_calls"]
        ]
    return kept
