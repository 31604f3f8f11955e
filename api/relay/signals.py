"""Signals to workers: acknowledgements, requests for what is missing, cancellations; those of a moment together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from shared.redis.client import UNREACHABLE
from shared.redis.names import control_channel
from shared.relay import Signal, encode_signal

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from api.relay.delivery import Delivery

RETRY_S: Final = 0.25
ACKNOWLEDGE_S: Final = 0.1
ACKNOWLEDGE_BYTES: Final = 512 * 1024


class SignalSender:
    """Sends signals until Redis has taken them.

    Args:
        redis: connections that every part shares.
        api_id: this process, 16 bytes.
    """

    def __init__(self, redis: Redis, api_id: bytes) -> None:
        self._redis = redis
        self._api_id = api_id
        self._signals: dict[bytes, dict[tuple[bytes, Signal], bytes]] = {}
        self._unacknowledged: dict[bytes, Delivery] = {}
        self._wake = asyncio.Event()
        self._acknowledging: asyncio.TimerHandle | None = None

    def add(self, worker: bytes, key: bytes, signal: Signal, sequence: int) -> None:
        """Send a signal as soon as possible; an unsent one of the same kind about the same attempt is replaced."""
        self._signals.setdefault(worker, {})[key, signal] = encode_signal(key, signal, sequence)
        self._wake.set()

    def acknowledge(self, delivery: Delivery) -> None:
        """Acknowledge what has arrived of an attempt: within `ACKNOWLEDGE_S`, or at once after many bytes."""
        self._unacknowledged[delivery.stream.key] = delivery
        if delivery.unacknowledged > ACKNOWLEDGE_BYTES:
            self._wake.set()
        elif self._acknowledging is None:
            self._acknowledging = asyncio.get_running_loop().call_later(ACKNOWLEDGE_S, self._acknowledge_now)

    async def run(self) -> None:
        """Send for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not await self.flush():
                self._wake.set()
                await asyncio.sleep(RETRY_S)

    async def flush(self) -> bool:
        """Send what there is; return False when Redis did not take it."""
        # Taken before the await: what is added while Redis is asked belongs to the next message.
        acknowledged, self._unacknowledged = self._unacknowledged, {}
        signals, self._signals = self._signals, {}
        by_worker = {worker: list(entries.values()) for worker, entries in signals.items()}
        for delivery in acknowledged.values():
            delivery.acknowledged()
            if delivery.worker is not None:
                entry = encode_signal(delivery.stream.key, Signal.ACK, delivery.expected)
                by_worker.setdefault(delivery.worker, []).append(entry)
        if not by_worker:
            return True
        pipeline = self._redis.pipeline(transaction=False)
        for worker, entries in by_worker.items():
            pipeline.publish(control_channel(worker), self._api_id + b"".join(entries))
        try:
            await pipeline.execute()
        except UNREACHABLE:
            # What was added meanwhile is newer, and replaces what could not be sent.
            self._unacknowledged = acknowledged | self._unacknowledged
            for worker, unsent in signals.items():
                self._signals[worker] = unsent | self._signals.get(worker, {})
            return False
        return True

    def _acknowledge_now(self) -> None:
        self._acknowledging = None
        self._wake.set()
