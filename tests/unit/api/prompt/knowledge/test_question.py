"""What a conversation asks is its user's last turn, with the one before where it says little alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.prompt.knowledge.question import MOST_CHARS, question_of
from shared.openai.request import decode_chat

LONG = "How do I restart nginx without an outage?"
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def asked(*messages: tuple[str, Any]) -> str:
    """Return the question of a conversation."""
    body = {"model": "x", "messages": [{"role": role, "content": content} for role, content in messages]}
    return question_of(decode_chat(json.dumps(body).encode()).messages)


@pytest.mark.parametrize(
    ("messages", "question"),
    [
        ((("system", "Be brief."), ("user", LONG)), LONG),
        ((("user", "Hello, I am Ann."), ("assistant", "Hello!"), ("user", LONG)), LONG),
        ((("user", LONG), ("assistant", "So."), ("user", "And with TLS?")), f"{LONG}\nAnd with TLS?"),
        ((("user", [{"type": "text", "text": LONG}, IMAGE]),), LONG),
        ((("user", LONG), ("assistant", "So."), ("user", [IMAGE])), LONG),
        ((("user", LONG), ("user", "one two three four five")), f"{LONG}\none two three four five"),
        ((("user", LONG), ("user", "one two three four five six")), "one two three four five six"),
        ((("user", [IMAGE]),), ""),
        ((("user", "a\x00b"),), "a b"),
    ],
)
def test_the_question_is_what_the_user_says(messages: tuple[tuple[str, Any], ...], question: str) -> None:
    """No instructions, no answers, no pictures."""
    assert asked(*messages) == question


def test_of_a_long_text_both_ends_count() -> None:
    """What is asked stands before what is pasted, or after it."""
    question = asked(("user", "Why? " + "x" * 100_000 + " Tell me."))
    assert len(question) <= MOST_CHARS + 1
    assert question.startswith("Why?")
    assert question.endswith("Tell me.")
