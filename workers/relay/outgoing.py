"""The frames of one attempt on their way to an api process, from the first that is not acknowledged."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from shared.errors import StreamBroken
from shared.relay import MAX_PAYLOAD, Kind, encode_frame

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

    from shared.usage import Closing

UNACKNOWLEDGED_BYTES: Final = 8 * 1024 * 1024
"""Redis cuts a subscriber that is 32 MiB behind."""


class SendWindow:
    """Counts what one api process has not acknowledged yet, of all its attempts together, in bytes."""

    def __init__(self) -> None:
        self._unacknowledged = 0
        self._has_room = asyncio.Event()

    def sent(self, size: int) -> None:
        """Record that a frame is on its way."""
        self._unacknowledged += size

    def acknowledged(self, size: int) -> None:
        """Record that a frame has arrived, or is given up."""
        self._unacknowledged -= size
        if self._unacknowledged <= UNACKNOWLEDGED_BYTES:
            self._has_room.set()

    async def room(self) -> None:
        """Wait while too much is unacknowledged: the upstream is not read meanwhile."""
        # A loop: all streams are woken at once, and the first of them may use up the room.
        while self._unacknowledged > UNACKNOWLEDGED_BYTES:
            self._has_room.clear()
            await self._has_room.wait()


class OutgoingStream:
    """The frames of one attempt, from the first that is not acknowledged.

    Args:
        key: the attempt's key on the relay.
        window: counts what is not acknowledged.
        on_change: called with the stream when it has something to send; True: at once.
        pace: waits a moment before more is read from the upstream, where many streams are busy.
    """

    def __init__(
        self,
        key: bytes,
        window: SendWindow,
        *,
        on_change: Callable[[OutgoingStream, bool], None],
        pace: Callable[[], Awaitable[None]],
    ) -> None:
        self.key = key
        self.room = window.room
        self.pace = pace
        self._window = window
        self._on_change = on_change
        self.frames: deque[bytes] = deque()
        self.first = 0
        self.next = 0
        self.sent = 0
        self.closing: Closing | None = None
        self.ended_at: float | None = None
        self.moved_at = time.monotonic()

    def push(self, kind: Kind, payload: bytes = b"", tokens: int = 0, *, urgent: bool = False) -> None:
        """Add a frame; content over 256 KiB becomes several.

        Raises:
            ValueError: it is of another kind, and larger than a frame may be: a part of it says nothing.
        """
        if len(payload) > MAX_PAYLOAD:
            if kind is not Kind.CONTENT:
                raise ValueError(f"{len(payload)} bytes do not fit into a {kind.name} frame")
            *before, payload = map(bytes, _parts(payload))
            for part in before:
                self._append(kind, part, 0)
        self._append(kind, payload, tokens)
        self._on_change(self, urgent)

    async def push_body(self, body: Sequence[bytes], tokens: int, timeout_s: float) -> None:
        """Add a finished body in frames of at most 256 KiB, waiting for room between them.

        Args:
            body: its pieces, in order; all of a large one at once would take long to copy.
            tokens: how many it is made of.
            timeout_s: how long it may take.

        Raises:
            StreamBroken: there was no room for all of it in time.
        """
        left = sum(map(len, body))
        try:
            async with asyncio.timeout(timeout_s):
                for part in _payloads(body):
                    await self.room()
                    left -= len(part)
                    # Counted with the last part only: what is not delivered whole was not delivered.
                    self._append(Kind.BODY, part, 0 if left else tokens)
                    self._on_change(self, False)
        except TimeoutError:
            raise StreamBroken("The gateway could not deliver the answer in time.") from None

    def end(self, closing: Closing | None) -> None:
        """End the stream; `closing`, if there is one, is carried out in the pipeline of the last frame."""
        self.closing = closing
        self.ended_at = time.monotonic()
        self._on_change(self, True)

    def acknowledge(self, sequence: int) -> None:
        """Forget the frames before `sequence`."""
        while self.frames and self.first < sequence:
            self._window.acknowledged(len(self.frames.popleft()))
            self.first += 1
        # After a rewind: what was acknowledged meanwhile need not be sent again.
        self.sent = max(self.sent, self.first)
        self.moved_at = time.monotonic()

    def rewind(self, sequence: int | None = None) -> None:
        """Send again from `sequence` on, or all that is not acknowledged."""
        self.sent = max(self.first, min(self.next, self.first if sequence is None else sequence))
        self.moved_at = time.monotonic()

    @property
    def unsent(self) -> bool:
        """Return whether something waits to be published."""
        return self.sent < self.next or self.closing is not None

    @property
    def finished(self) -> bool:
        """Return whether nothing more has to be said."""
        return self.ended_at is not None and not self.frames and self.closing is None

    def _append(self, kind: Kind, payload: bytes | memoryview, tokens: int) -> None:
        frame = encode_frame(self.key, kind, self.next, tokens, payload)
        self.frames.append(frame)
        self.next += 1
        self._window.sent(len(frame))


def _parts(payload: bytes) -> Iterator[memoryview]:
    whole = memoryview(payload)
    return (whole[start : start + MAX_PAYLOAD] for start in range(0, len(payload), MAX_PAYLOAD))


def _payloads(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in payloads that are as large as may be."""
    gathered: list[memoryview] = []
    size = 0
    for piece in pieces:
        for part in _parts(piece):
            if size + len(part) > MAX_PAYLOAD:
                yield b"".join(gathered)
                gathered.clear()
                size = 0
            gathered.append(part)
            size += len(part)
    if gathered:
        yield b"".join(gathered)
