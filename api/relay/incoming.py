"""The incoming stream of one attempt: a buffer between the relay and the client's response, and the outcome."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from shared.errors import ErrorInfo, GatewayError, from_info
from shared.relay import Kind
from shared.types import Started, Target, Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.relay import CancelReason

_error_decoder = msgspec.json.Decoder(ErrorInfo)
_usage_decoder = msgspec.json.Decoder(Usage)
_started_decoder = msgspec.json.Decoder(Started)


class IncomingStream:
    """One attempt as its reader sees it. Its fields are read by all and written by its own methods.

    Args:
        key: the attempt's key on the relay.
        job_id: its job in the queue.
        target: where it was put, and who has taken it over from there since.
        whole: the reply is wanted as one body, so parts of it do not wake the reader.

    Attributes:
        usage: what it used: all of it at its end, and until then what a paid upstream is known to bill.
        has_reported: whether its worker has said how it ended.
        failure: how it failed, where its worker said so.
        taken_over_ms: when another backend's worker said that it has taken it over, in ms since 1970.
        abort_reason: why it was ended from this side though its worker is alive, if it was.
        on_commit: called at the first content, unless the attempt was given up before.
    """

    __slots__ = (
        "_future",
        "_is_discarded",
        "_keep_alive_is_due",
        "_on_commit",
        "_parts",
        "abort_reason",
        "committed",
        "ended",
        "error",
        "failure",
        "first_at",
        "has_reported",
        "is_large",
        "job_id",
        "key",
        "size",
        "started_at",
        "taken_at",
        "taken_over_ms",
        "target",
        "tokens",
        "usage",
        "wait_limit_exceeded",
        "whole",
    )

    def __init__(
        self, key: bytes, job_id: str, target: Target, *, whole: bool, on_commit: Callable[[], object] = bool
    ) -> None:
        self.key = key
        self.job_id = job_id
        self.target = target
        self.whole = whole
        self.tokens = 0
        self.size = 0
        self.taken_at = time.monotonic()
        self.committed = False
        self.is_large = False
        self.started_at: float | None = None
        self.first_at: float | None = None
        self.ended = False
        self.wait_limit_exceeded = False
        self.abort_reason: CancelReason | None = None
        self.usage: Usage | None = None
        self.has_reported = False
        self.failure: GatewayError | None = None
        self.taken_over_ms: int | None = None
        self.error: GatewayError | None = None
        self._on_commit = on_commit
        self._parts: deque[bytes] = deque()
        self._future: asyncio.Future[None] | None = None
        self._keep_alive_is_due = False
        self._is_discarded = False

    @property
    def over(self) -> bool:
        """Return whether the attempt has ended, well or not."""
        return self.ended or self.error is not None

    # --- what the relay's receiver calls ---

    def accept(self, kind: int, tokens: int, payload: bytes) -> None:
        """Take the next frame in order.

        Raises:
            ValueError, msgspec.MsgspecError: it cannot be read.
        """
        self.tokens += tokens
        if self._is_discarded and kind in {Kind.CONTENT, Kind.BODY}:
            # Its tokens count all the same: nothing that was delivered may be missing in the usage log.
            payload = b""
        if kind == Kind.CONTENT:
            if not self.committed:
                self._commit()
            # Of a whole reply one empty frame comes before its body: it commits the attempt, and wakes nobody.
            if not payload:
                return
            self._parts.append(payload)
            self.size += len(payload)
        elif kind == Kind.BODY:
            # An empty one comes first where the worker reads a large answer, which may be what freezes it.
            self.is_large = self.is_large or not payload
            if payload:
                self._parts.append(payload)
                self.size += len(payload)
            return
        elif kind in {Kind.END, Kind.ERROR}:
            self._take_end(kind, payload)
        elif kind == Kind.START:
            self._take_start(payload)
            return
        else:
            raise ValueError(f"unknown kind of frame: {kind}")
        self._wake()

    def move(self, target: Target) -> None:
        """Record that the attempt waits at `target`, unless a worker has said by now who has it."""
        if self.started_at is None:
            self.target = target

    def discard(self) -> None:
        """Count what comes and drop it; what has come is dropped too, where nobody reads any more."""
        self._is_discarded = True
        if self.abort_reason is None:
            self._parts.clear()
            self.size = 0

    def fail(self, error: GatewayError) -> None:
        """End the attempt from this side."""
        # The first outcome stands: an error of ours must not replace the answer's end, nor the end an error.
        if not self.over:
            self.error = error
            self._wake()

    def abort(self, error: GatewayError, reason: CancelReason) -> bool:
        """End the attempt, whose worker is alive and must be stopped; return False if it is over already."""
        if self.over:
            return False
        self.abort_reason = reason
        self.fail(error)
        return True

    def keep_alive_tick(self) -> None:
        """Wake the reader without data, so that it can send a keep-alive."""
        self._keep_alive_is_due = True
        # As if the reader had taken something, so that the next tick comes a whole interval later.
        self.taken_at = time.monotonic()
        self._wake()

    # --- what the request calls ---

    def exceed_wait_limit(self) -> None:
        """Wake the reader: the job has waited for so long that another place should be looked for."""
        self.wait_limit_exceeded = True
        self._wake()

    def start_recheck(self) -> None:
        """Record that another place is being looked for."""
        self.wait_limit_exceeded = False

    def take(self) -> bytes:
        """Return everything that waits, in order, and of a whole reply the next part of it; empty when nothing does."""
        if not self._parts or (self.whole and not self.ended):
            return b""
        if self.whole:  # may be 100 MB, which would take long to copy
            self.size -= len(self._parts[0])
            return self._parts.popleft()
        joined = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self.size = 0
        self.taken_at = time.monotonic()
        return joined

    async def wait(self) -> bool:
        """Wait for something new; return True when it was only a keep-alive tick."""
        if not self._keep_alive_is_due and not self._has_news():
            self._future = asyncio.get_running_loop().create_future()
            try:
                await self._future
            finally:
                self._future = None
        is_tick, self._keep_alive_is_due = self._keep_alive_is_due, False
        return is_tick and not self._has_news()

    def _take_start(self, payload: bytes) -> None:
        is_first, self.started_at = self.started_at is None, self.started_at or time.monotonic()
        if payload:
            # Another backend's worker may have taken the job over while it waited (claim.lua), and says so here.
            started = _started_decoder.decode(payload)
            self.target, self.usage = Target(started.tier, started.queue, started.model), started.usage
            if is_first and started.taken_over:
                self.taken_over_ms = int(time.time() * 1000)

    def _take_end(self, kind: int, payload: bytes) -> None:
        if kind == Kind.END:
            self.usage = _usage_decoder.decode(payload)
            # An outcome that stands already stays: what was dropped since then is no answer.
            self.ended = self.error is None
        else:
            self.failure = from_info(_error_decoder.decode(payload))
            self.error = self.error or self.failure
        self.has_reported = True

    def _commit(self) -> None:
        self.committed = True
        self.first_at = time.monotonic()
        if self.error is None:
            self._on_commit()

    def _has_news(self) -> bool:
        return self.over or self.wait_limit_exceeded or (bool(self._parts) and not self.whole)

    def _wake(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)
