"""The thought signatures that clients get, and may bring back by themselves. Pure.

Source of the shape: ai.google.dev, "OpenAI compatibility": `extra_content.google.thought_signature` of a tool call.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shared.openai.messages import AssistantMessage, FunctionToolCall, Message
from shared.openai.request import ChatRequest


def to_extra_content(signature: str | None) -> dict[str, Any] | None:
    """Return a call's thought signature where Google's OpenAI-compatible API puts it, for clients that send it back."""
    return {"google": {"thought_signature": signature}} if signature else None


def call_ids(messages: list[Message]) -> list[str]:
    """Return the ids of all tool calls in the conversation, each once."""
    ids: dict[str, None] = {}
    for message in messages:
        if isinstance(message, AssistantMessage):
            ids |= {call.id: None for call in message.tool_calls or () if isinstance(call, FunctionToolCall)}
    return list(ids)


def signatures_in(request: ChatRequest) -> dict[str, str]:
    """Return the signatures that stand in the request, by call id."""
    if not request.mentions(b"thought_signature"):
        return {}
    found: dict[str, str] = {}
    for call in _calls(request):
        call_id, signature = _at(call, "id"), _at(call, "extra_content", "google", "thought_signature")
        if isinstance(call_id, str) and isinstance(signature, str) and signature:
            found[call_id] = signature
    return found


def _calls(request: ChatRequest) -> Iterator[Any]:
    """Yield the assistant's tool calls as the client sent them, with the fields that OpenAI does not name."""
    for message, given in zip(request.body.messages, request.fields["messages"], strict=True):
        if isinstance(message, AssistantMessage):
            yield from given.get("tool_calls") or ()


def _at(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value
