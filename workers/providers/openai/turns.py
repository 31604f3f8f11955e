"""Conversations as chat templates take them that know one system text, and turns of two sides. Pure."""

from __future__ import annotations

from typing import Any, Final

ALTERNATING: Final = "messages[].role"
"""Rejection of a server whose model's template wants the roles to alternate."""
# Stands where a conversation begins with the assistant's words, as with Gemini and Claude.
OPENING: Final = "(The assistant speaks first.)"
# Stands where the user goes on before the assistant has answered the results of its calls.
UNANSWERED: Final = "(No answer.)"
_MERGED: Final = frozenset({"role", "content"})


def with_alternating_roles(messages: list[Any]) -> list[Any]:
    """Return messages with all instructions first, as one, and one message for what the same side says in a row.

    What has more than a content (a name) stays by itself, as do the results of calls; calls join the words before them.
    """
    turns: list[Any] = []
    system = [message for message in messages if message["role"] in {"system", "developer"}]
    if system:
        turns.append({"role": "system", "content": _joined([message["content"] for message in system])})
    for message in messages:
        if message["role"] in {"system", "developer"}:
            continue
        if message["role"] == "assistant" and (not turns or turns[-1]["role"] == "system"):
            turns.append({"role": "user", "content": OPENING})
        if message["role"] == "user" and turns and turns[-1]["role"] == "tool":
            turns.append({"role": "assistant", "content": UNANSWERED})
        if turns and _is_one(turns[-1], message):
            turns[-1] = {**message, "content": _joined([turns[-1]["content"], message.get("content") or ""])}
        else:
            turns.append(message)
    return turns


def _is_one(last: dict[str, Any], message: dict[str, Any]) -> bool:
    is_same = last["role"] == message["role"] and message["role"] in {"user", "assistant"}
    return is_same and not last.keys() - _MERGED and not message.keys() - _MERGED - {"tool_calls"}


def _joined(contents: list[Any]) -> Any:
    """Return contents as one: a text where all are, else all parts."""
    if all(isinstance(content, str) for content in contents):
        return "\n\n".join(filter(None, contents))
    parts: list[Any] = []
    for content in contents:
        parts += content if isinstance(content, list) else [{"type": "text", "text": content}] if content else []
    return parts
