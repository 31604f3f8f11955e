"""The frames of one attempt on their way to an api process, from the first that is not acknowledged."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from shared.relay import MAX_PAYLOAD, Kind, encode_frame

if TYPE_CHECKING:
    from workers.relay.sender import Outbox


class Ending:
    """What the last frame's pipeline does besides: removes the job, closes the usage record, settles the budget.

    Args:
        keys: those of `finish.lua`.
        arguments: its arguments.
    """

    def __init__(self, keys: list[str], *arguments: str | bytes | int) -> None:
        self.keys = keys
        self.arguments = arguments


class Stream:
    """The frames of one attempt, from the first that is not acknowledged."""

    def __init__(self, key: bytes, outbox: Outbox) -> None:
        self.key = key
        self.outbox = outbox
        self.frames: deque[bytes] = deque()
        self.first = 0
        self.next = 0
        self.sent = 0
        self.ending: Ending | None = None
        self.ended_at: float | None = None
        self.moved_at = time.monotonic()

    def push(self, kind: Kind, payload: bytes = b"", tokens: int = 0, *, urgent: bool = False) -> None:
        """Add a frame; a payload over 256 KiB becomes several."""
        while len(payload) > MAX_PAYLOAD:
            self._append(kind, payload[:MAX_PAYLOAD], 0)
            payload = payload[MAX_PAYLOAD:]
        self._append(kind, payload, tokens)
        self.outbox.changed(self, urgent=urgent)

    def end(self, ending: Ending | None) -> None:
        """Nothing will be added; `ending`, if there is one, is carried out with the last frame."""
        self.ending = ending
        self.ended_at = time.monotonic()
        self.outbox.changed(self, urgent=True)

    def acknowledge(self, sequence: int) -> None:
        """Forget the frames before `sequence`."""
        while self.frames and self.first < sequence:
            self.outbox.unacknowledged -= len(self.frames.popleft())
            self.first += 1
        self.sent = max(self.sent, self.first)
        self.moved_at = time.monotonic()

    def rewind(self, sequence: int | None = None) -> None:
        """Send again from `sequence` on, or all that is not acknowledged."""
        self.sent = max(self.first, min(self.next, self.first if sequence is None else sequence))
        self.moved_at = time.monotonic()

    @property
    def unsent(self) -> bool:
        """Whether something waits to be published."""
        return self.sent < self.next or self.ending is not None

    @property
    def finished(self) -> bool:
        """Whether nothing more has to be said."""
        return self.ended_at is not None and not self.frames and self.ending is None

    def _append(self, kind: Kind, payload: bytes, tokens: int) -> None:
        frame = encode_frame(self.key, kind, self.next, tokens, payload)
        self.frames.append(frame)
        self.next += 1
        self.outbox.unacknowledged += len(frame)
