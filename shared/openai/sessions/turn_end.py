"""How the turn of a session's request ended."""

from __future__ import annotations

from typing import Literal

import msgspec

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
