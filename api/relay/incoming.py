"""What one attempt has sent us: a bounded buffer between the relay and the client's response."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import msgspec

from shared.errors import ErrorInfo, GatewayError, from_info
from shared.relay import CancelReason, Kind
from shared.types import Target, Usage

if TYPE_CHECKING:
    from collections.abc import Callable

_error_decoder = msgspec.json.Decoder(ErrorInfo)
_usage_decoder = msgspec.json.Decoder(Usage)
_target_decoder = msgspec.json.Decoder(Target)


class Inbound:
    """One attempt as this api process sees it.

    Args:
        key: the attempt's key on the relay.
        job_id: its job in the queue.
        target: where it was put, and who has taken it over from there since.
        whole: the reply is wanted as one body, so parts of it do not wake the reader.
        overrun: called when the client reads too slowly for what has arrived.
    """

    __slots__ = (
        "_future",
        "_nudged",
        "_parts",
        "abandoned",
        "asked_at",
        "cancel_reason",
        "committed",
        "doubted_at",
        "ended",
        "enqueued_at",
        "error",
        "expected",
        "first_at",
        "is_cut",
        "job_id",
        "key",
        "overdue",
        "overrun",
        "seen_at",
        "size",
        "started_at",
        "taken_at",
        "target",
        "tokens",
        "unacknowledged",
        "usage",
        "whole",
        "worker",
    )

    def __init__(self, key: bytes, job_id: str, target: Target, *, whole: bool, overrun: Callable[[], None]) -> None:
        now = time.monotonic()
        self.key = key
        self.job_id = job_id
        self.target = target
        self.whole = whole
        self.overrun = overrun
        self.worker: bytes | None = None
        self.expected = 0
        self.unacknowledged = 0
        self.tokens = 0
        self.size = 0
        self.enqueued_at = self.seen_at = self.taken_at = now
        self.doubted_at: float | None = None
        self.asked_at = 0.0
        self.committed = False
        self.started_at: float | None = None
        self.first_at: float | None = None
        self.ended = False
        self.overdue = False
        self.abandoned: Callable[[Inbound], None] | None = None
        self.cancel_reason = CancelReason.CLIENT_LEFT
        self.is_cut = False
        self.usage: Usage | None = None
        self.error: GatewayError | None = None
        self._parts: list[bytes] = []
        self._future: asyncio.Future[None] | None = None
        self._nudged = False

    @property
    def over(self) -> bool:
        """Whether the attempt has ended, well or not."""
        return self.ended or self.error is not None

    def accept(self, kind: int, tokens: int, payload: bytes) -> None:
        """Take the next frame in order."""
        self.tokens += tokens
        if self.abandoned is not None and kind in {Kind.CONTENT, Kind.BODY}:
            payload = b""
        if kind == Kind.CONTENT:
            if not self.committed:
                self.committed = True
                self.first_at = time.monotonic()
            if not payload:
                return
            self._parts.append(payload)
            self.size += len(payload)
        elif kind == Kind.BODY:
            self._parts.append(payload)
            self.size += len(payload)
            return
        elif kind == Kind.END:
            self.usage = _usage_decoder.decode(payload)
            self.ended = True
        elif kind == Kind.ERROR:
            self.error = from_info(_error_decoder.decode(payload))
        else:
            self.started_at = time.monotonic()
            if payload:
                self.target = _target_decoder.decode(payload)
            return
        self._wake()

    def abandon(self, reason: CancelReason, on_lost: Callable[[Inbound], None]) -> None:
        """Nobody reads any more: what comes is counted and dropped. `on_lost` is called if the end never comes."""
        self.abandoned = on_lost
        self.cancel_reason = reason
        self._parts.clear()
        self.size = 0

    def fail(self, error: GatewayError) -> None:
        """End the attempt from this side."""
        if not self.over:
            self.error = error
            self._wake()

    def cut(self, error: GatewayError) -> None:
        """As `fail`, but its worker is alive and must be stopped."""
        if not self.over:
            self.is_cut = True
            self.fail(error)

    def take(self) -> bytes:
        """Everything that waits, in order; empty when nothing does."""
        if not self._parts or (self.whole and not self.ended):
            return b""
        joined = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self.size = 0
        self.taken_at = time.monotonic()
        return joined

    def nudge(self) -> None:
        """Let the reader come up for air though nothing has arrived."""
        self._nudged = True
        self.taken_at = time.monotonic()
        self._wake()

    def be_overdue(self) -> None:
        """It has waited for its turn for so long that another place should be looked for."""
        if self.started_at is None and self.worker is None:
            self.overdue = True
            self._wake()

    async def wait(self) -> bool:
        """Wait for something new; True when it was only a nudge."""
        if (self.whole or not self._parts) and not self.over and not self._nudged and not self.overdue:
            self._future = asyncio.get_running_loop().create_future()
            try:
                await self._future
            finally:
                self._future = None
        nudged, self._nudged = self._nudged, False
        return nudged and not self.over and not self.overdue and (self.whole or not self._parts)

    def _wake(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)
