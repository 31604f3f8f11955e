"""The question of a conversation: the words that knowledge is searched for. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shared.openai.messages import TextPart, UserMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.openai.messages import Message

MOST_CHARS: Final = 1_000
FEW_WORDS: Final = 6
"""A question of fewer words mostly needs what was said before it: "and with TLS?"."""


def question_of(messages: Sequence[Message]) -> str:
    """Return the user's last turn, after the one before where it is short; empty where no turn of the user has words.

    Of a long text its beginning and its end: instructions stand before what is pasted, or behind it.
    """
    texts = [text for message in messages if isinstance(message, UserMessage) and (text := _text(message))]
    if not texts:
        return ""
    question = texts[-1]
    # No further than that: to find all words of megabytes is one step, during which nothing else goes on.
    if len(question.split(None, FEW_WORDS - 1)) < FEW_WORDS and len(texts) > 1:
        question = f"{_bounded(texts[-2])}\n{question}"
    return _bounded(question)


def _text(message: UserMessage) -> str:
    content = message.content
    texts = [content] if isinstance(content, str) else [each.text for each in content if isinstance(each, TextPart)]
    # What PostgreSQL's texts cannot hold is no word.
    return "\n".join(texts).replace("\x00", " ").encode("utf-8", "replace").decode().strip()


def _bounded(text: str) -> str:
    half = MOST_CHARS // 2
    return text if len(text) <= MOST_CHARS else f"{text[:half]}\n{text[-half:]}"
