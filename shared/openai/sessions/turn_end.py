"""The end of a turn of a session."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

THOUGHTS: Final = "reasoning_content"
"""The field of a message that has what its model thought: shown to people, and to no model."""
MOST_THOUGHTS_CHARS: Final = 64 * 1024
"""Number of them that are kept: their beginning."""

TurnState = Literal["complete", "cut", "broken", "cancelled"]
"""Ends of the answer to a turn of a session: `cut` at its length or by a filter."""


class TurnEnd(msgspec.Struct, frozen=True):
    """The end of a turn, and the assistant's message; without one, what was kept of it counts.

    It is JSON.
    """

    state: TurnState
    answer: bytes = b""

    @property
    def arguments(self) -> tuple[bytes, str]:
        """Return it as `turn.lua` takes it."""
        return self.answer, self.state
