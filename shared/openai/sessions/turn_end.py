"""How the turn of a session's request ended."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

THOUGHTS: Final = "reasoning_content"
"""The field of a message that has what its model thought: shown to people, and to no model."""
MOST_THOUGHTS_CHARS: Final = 64 * 1024
"""How many of them are kept: their beginning."""

TurnState = Literal["complete", "cut", "broken", "cancelled"]
"""How the answer to a turn of a session ended: `cut` at its length or by a filter."""


class TurnEnd(msgspec.Struct, frozen=True):
    """How the turn of a session's request ended, and the assistant's message; without one, what was kept of it counts.

    It is JSON.
    """

    state: TurnState
    answer: bytes = b""

    @property
    def arguments(self) -> tuple[bytes, str]:
        """Return it as `turn.lua` takes it."""
        return self.answer, self.state
