"""The commands of api processes and workers to Valkey for one job and for one message, without the processes."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Final, Self

import msgspec

from api.admission.admit import admit
from api.admission.auth import Principal
from shared.ids import job_id, new_request_id
from shared.queue.placement import Candidate, PlacementOptions
from shared.redis import scripts
from shared.redis.names import queue_name, relay_channel, since_key, wake_channel
from shared.redis.subscription import next_message, subscription
from shared.relay import ID_SIZE, Kind, attempt_key, encode_frame
from shared.settings import MAX_RPM_LIMIT
from shared.types import JobDraft, Target
from shared.usage import Closing, ClosingMode, UsageRecord, finish

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis.asyncio import Redis

FRAME_BYTES: Final = 230
"""A frame of one token, with its head."""
BODY_BYTES: Final = 900
_BODY: Final = msgspec.Raw(
    msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": "lorem " * 40}]})
)
# As a worker's: an hour, the longest that an attempt may run, and a minute.
_MARK_MS: Final = 3_660_000
_SILENCE_S: Final = 60.0


class Traffic:
    """One api process and one worker, as Valkey sees them. A context manager: it keeps the subscriptions.

    Args:
        redis: where everything goes.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._api_id, self._worker_id = os.urandom(ID_SIZE), os.urandom(ID_SIZE)
        self._channel = relay_channel(self._api_id)
        self._queue = queue_name("local", "bench:1")
        self._principal = Principal("bench", MAX_RPM_LIMIT, admin_allowed=False)
        self._listeners: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        # Somebody has to listen: a message without a subscriber costs Valkey less.
        channels = (self._channel, wake_channel(self._worker_id.hex()))
        # As a live api process has it: without it each closing counts as one after a loss of data (finish.lua).
        await self._redis.set(since_key(self._api_id.hex()), 0)
        self._listeners = [asyncio.create_task(self._listen(channel)) for channel in channels]
        return self

    async def __aexit__(self, *_: object) -> None:
        for listener in self._listeners:
            listener.cancel()
        await asyncio.gather(*self._listeners, return_exceptions=True)

    async def job(self) -> None:
        """Carry out one request that is not streamed, from its admission to its usage record."""
        draft, record = self._request()
        await admit(
            self._redis,
            self._principal,
            draft,
            candidates=[Candidate(target=Target("local", self._queue, "m"))],
            options=PlacementOptions(most_waiting=1000),
        )
        claimed = await scripts.run(self._redis, scripts.CLAIM, [self._queue], 1, self._worker_id.hex(), _MARK_MS, 5000)
        if not claimed:
            raise RuntimeError("a job that was enqueued is not there")
        job = msgspec.json.decode(claimed[1])["k"]
        request_id = job["request_id"]
        key = attempt_key(request_id, 1)
        await self._publish(encode_frame(key, Kind.START, 0, 0, b""))
        body = encode_frame(key, Kind.BODY, 1, 64, bytes(BODY_BYTES))
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.publish(self._channel, self._worker_id + body + encode_frame(key, Kind.END, 2, 0, bytes(80)))
        name = job_id(request_id, 1)
        record = msgspec.structs.replace(record, tier="local")
        finish(pipeline, Closing.of(record, ClosingMode.HELD, api_id=job["api_id"], job_id=name, queue=self._queue))
        await pipeline.execute()

    def message_of(self, frames: int) -> Callable[[], Awaitable[None]]:
        """Return a function that publishes a message of `frames` tokens."""
        key = attempt_key(new_request_id(), 1)
        empty = encode_frame(key, Kind.CONTENT, 1, 1, b"")
        frame = encode_frame(key, Kind.CONTENT, 1, 1, bytes(FRAME_BYTES - len(empty)))

        async def publish() -> None:
            await self._publish(frame * frames)

        return publish

    async def _publish(self, frames: bytes) -> None:
        await self._redis.publish(self._channel, self._worker_id + frames)

    def _request(self) -> tuple[JobDraft, UsageRecord]:
        request_id, now_ms = new_request_id(), int(time.time() * 1000)
        draft = JobDraft(
            request_id=request_id,
            attempt=1,
            api_id=self._api_id.hex(),
            endpoint="chat",
            requested_model="m",
            stream=False,
            key_id="bench",
            admitted_ms=now_ms,
            expires_ms=now_ms + _MARK_MS,
            body=_BODY,
        )
        return draft, UsageRecord(
            request_id=request_id, key_id="bench", endpoint="chat", requested_model="m", admitted_ms=now_ms
        )

    async def _listen(self, channel: str) -> None:
        async with subscription(self._redis, channel) as pubsub:
            while True:
                await next_message(pubsub, _SILENCE_S)
