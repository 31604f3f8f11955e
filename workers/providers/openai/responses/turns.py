"""Thoughts of OpenAI's models before tool calls: kept until the results come, and put back. Pure.

Nothing is stored at OpenAI, so that a model that goes on without its thoughts thinks them again, and pays for them.
They are encrypted, and go back as they came.

Source: OpenAI's guide "Reasoning models" (encrypted reasoning items); each must be followed by the item that came
after it.
"""

from __future__ import annotations

from typing import Any

import msgspec

Placed = tuple[dict[str, Any], str]
"""An item and its place in the client's messages."""


class Piece(msgspec.Struct, omit_defaults=True):
    """One item of an assistant's turn, as it is kept: thoughts whole, of a text or a call only its place."""

    type: str
    id: str = ""
    summary: list[Any] = []
    encrypted_content: str = ""

    def to_item(self) -> dict[str, Any]:
        """Return the thoughts as an input item."""
        return {
            "type": self.type,
            "id": self.id,
            "summary": self.summary,
            "encrypted_content": self.encrypted_content,
        }


class _Kept(msgspec.Struct):
    openai: list[Piece]


def to_kept(pieces: list[Piece]) -> str:
    """Return a turn as a text."""
    return msgspec.json.encode(_Kept(pieces)).decode()


def from_kept(text: str) -> list[Piece]:
    """Return a turn's pieces; none if the text is not ours."""
    try:
        return msgspec.json.decode(text, type=_Kept).openai
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []


def arranged(kept: list[Piece], text: list[Placed], calls: list[Placed], place: str) -> list[Placed]:
    """Return a turn's items in their order, with its thoughts between them.

    Where the client has changed the turn its thoughts are left out: what followed them is no longer there.

    Args:
        kept: what came.
        text: what the assistant said, one item at the most.
        calls: those of the turn.
        place: of the turn in the client's messages.
    """
    texts = [piece for piece in kept if piece.type == "message"]
    places = sum(piece.type == "call" for piece in kept)
    if bool(texts) != bool(text) or places != len(calls):
        return [*text, *calls]
    items: list[Placed] = []
    messages, called = iter(text), iter(calls)
    for piece in kept:
        if piece.type == "reasoning":
            items.append((piece.to_item(), place))
        else:
            # What several items said is one text by now: it stands where the first of them did.
            items += [found] if (found := next(messages if piece.type == "message" else called, None)) else []
    return items
