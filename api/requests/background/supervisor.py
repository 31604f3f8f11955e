"""Looks after the responses of the background: what becomes of them where no worker can say.

They are open under no api process, and workers append their events in Redis; so whoever looks after them may die, and
another one goes on: of all api processes the one that has the lease. It starts the next attempt after one that failed
before its first content, moves what waits where nobody serves, and closes what was cancelled, what waited too long and
what a worker has left that was lost. All steps of it may be done twice: an attempt has one worker
(`background_append.lua`), and a request is closed once (`finish.lua`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

import msgspec

from api.accounting.usage_log import CANCELLED
from api.requests.background.closing import closing_of
from api.requests.background.following import Followers
from api.requests.background.next_attempt import NextAttempt
from api.requests.background.records import BackgroundRecords
from api.requests.open_requests import ANSWER_LIFE_S
from shared.errors import Overloaded, StreamBroken, WorkerLost, from_info
from shared.ids import job_id
from shared.process.tasks import Follower, end_all, spawn_critical, work_beside
from shared.queue.arq_queue import withdraw
from shared.redis.client import UNREACHABLE
from shared.redis.names import (
    BACKGROUND_API,
    BACKGROUND_LEADER,
    control_channel,
    kept_response_key,
    open_requests,
    reply_key,
    since_key,
)
from shared.relay import CancelReason, Signal, attempt_key, cancelled_for, encode_signal
from shared.usage import Closing, ClosingMode, UsageRecord, finish_now

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.requests.background.records import BackgroundRequest, Progress
    from api.requests.services import RequestServices
    from shared.errors import GatewayError
    from shared.usage import Finished

_log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
LEASE_S: Final = 10.0
CANCEL_S: Final = 3.0
"""Time that a cancellation is waited for: a worker closes its upstream's connection, and may have to count."""
LOOK_AGAIN_S: Final = 0.05
SINCE_LIFE_S: Final = 86_400
_record: Final = msgspec.json.Decoder(UsageRecord)


class Supervisor:
    """Looks after all of them while this process has the lease, and settles one at once for who asks.

    Args:
        services: what requests use of their process.
        is_served: whether a live worker takes what waits in a queue.
        finished: told of each request that this closes.
    """

    def __init__(self, services: RequestServices, is_served: Callable[[str], bool], finished: Finished) -> None:
        self.records = BackgroundRecords(services.redis, services.settings.max_background)
        self.followers = Followers(services.redis)
        self._services = services
        self._redis = services.redis
        self._is_served = is_served
        self._finished = finished
        self._bound_s = services.settings.heartbeat_bound_s
        self._next = NextAttempt(services, self.records)
        self._follower = Follower(self._look, LOOK_S)
        self._task: asyncio.Task[None] | None = None
        self._steady_since: float | None = None
        self._doubted: dict[str, tuple[int, float]] = {}

    def start(self) -> None:
        """Begin to look."""
        self._task = spawn_critical(self._follower.run(), name="background")

    async def stop(self) -> None:
        """Stop, and let another process look at once."""
        await end_all(self._task)
        try:
            if await self._redis.get(BACKGROUND_LEADER) == self._services.api_id.encode():
                await self._redis.delete(BACKGROUND_LEADER)
        except UNREACHABLE:
            return

    def wake(self, _: str = "") -> None:
        """Look soon: an attempt has failed, or one shall be cancelled."""
        self._follower.wake()

    def handle_cancel(self, subject: str) -> None:
        """Cancel a response: `subject` is its id, who wants that (a `CancelReason`), and the name of the answer."""
        request_id, by, answer = subject.split(" ")
        if self._steady_since is not None:  # one process is enough
            self._services.spawn(self._cancel_and_report(request_id, CancelReason(int(by)), answer), "cancel")

    async def cancel(self, request_id: str, by: CancelReason) -> bool:
        """End a response wherever it is, and wait until it has ended; return whether it has.

        Raises:
            RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
        """
        await self.records.cancel(request_id, by)
        deadline = time.monotonic() + CANCEL_S
        while (progress := await self.records.progress(request_id)) is not None and time.monotonic() < deadline:
            # Whoever asks may not have the lease, and has not watched anybody for a bound.
            await self._settle(request_id, progress, may_judge=False)
            await asyncio.sleep(LOOK_AGAIN_S)
        return progress is None

    async def _cancel_and_report(self, request_id: str, by: CancelReason, answer: str) -> None:
        try:
            if await self.records.progress(request_id) is not None and await self.cancel(request_id, by):
                pipeline = self._redis.pipeline(transaction=False)
                pipeline.lpush(reply_key(answer), b'"cancelled"')
                pipeline.expire(reply_key(answer), ANSWER_LIFE_S)
                await pipeline.execute()
        except UNREACHABLE as error:
            _log.warning("Redis does not answer (%s): a response is not cancelled", type(error).__name__)

    # --- looking ---

    async def _look(self) -> None:
        try:
            if not await self._has_lease():
                self._steady_since = None
                self._doubted.clear()
                return
            await self._look_at_all()
        except UNREACHABLE:
            # The relay says so. Nobody is judged by one who was away.
            self._steady_since = None

    async def _has_lease(self) -> bool:
        mine, life_ms = self._services.api_id.encode(), int(LEASE_S * 1000)
        if await self._redis.set(BACKGROUND_LEADER, mine, nx=True, px=life_ms):
            return True
        # Two steps: should the lease pass on in between, two look, and what they do may be done twice.
        is_mine = await self._redis.get(BACKGROUND_LEADER) == mine
        return bool(is_mine and await self._redis.pexpire(BACKGROUND_LEADER, life_ms))

    async def _look_at_all(self) -> None:
        now = time.monotonic()
        self._steady_since = self._steady_since or now
        # Written anew, Redis has lost its data: it knows nothing of what was admitted before (`finish.lua`).
        await self._redis.set(since_key(BACKGROUND_API), int(time.time() * 1000), nx=True)
        await self._redis.expire(since_key(BACKGROUND_API), SINCE_LIFE_S)
        names = await self.records.all_open()
        self._doubted = {name: since for name, since in self._doubted.items() if name in names}
        self._next.keep(names)
        may_judge = now - self._steady_since > self._bound_s
        for name, progress in zip(names, await self.records.all_progress(names), strict=True):
            if progress is None:
                await self._close_lost(name, may_judge=may_judge)
            else:
                await self._settle(name, progress, may_judge=may_judge)

    async def _settle(self, name: str, progress: Progress, *, may_judge: bool) -> None:
        """Do what has to be done about a response now; mostly that is nothing."""
        # First: what was cancelled is not tried again.
        if progress.cancelled:
            await self._end(name, progress)
        elif progress.failure is not None:
            await self._go_on(name, progress, from_info(progress.failure))
        elif progress.worker:
            if may_judge and await self._is_silent(progress):
                await self._go_on(name, progress, WorkerLost("The worker that answered this request was lost."))
        elif await self._is_waiting(name, progress):
            self._doubted.pop(name, None)
            await self._look_at_waiting(name, progress)
        elif may_judge and self._is_doubted_long(name, progress.attempt):
            await self._go_on(name, progress, WorkerLost("The worker that took this request was lost."))

    async def _is_silent(self, progress: Progress) -> bool:
        # By the clock of Redis, which noted when it was last seen: those of machines differ.
        seconds, microseconds = await self._redis.time()
        return bool(seconds * 1000 + microseconds / 1000 - progress.seen_ms > self._bound_s * 1000)

    async def _is_waiting(self, name: str, progress: Progress) -> bool:
        return await self._redis.zscore(progress.target.queue, progress.job_of(name)) is not None

    def _is_doubted_long(self, name: str, attempt: int) -> bool:
        """Return whether an attempt has neither waited nor had a worker for two bounds."""
        doubted, since = self._doubted.get(name, (-1, 0.0))
        if attempt != doubted:
            self._doubted[name] = (attempt, time.monotonic())
            return False
        return time.monotonic() - since > 2 * self._bound_s

    # --- what is done ---

    async def _look_at_waiting(self, name: str, progress: Progress) -> None:
        is_late = time.time() * 1000 > progress.patient_until_ms
        if not is_late and self._is_served(progress.target.queue):
            return
        request = await self.records.request(name)
        if request is None or (not is_late and await self._next.move(request, progress)) or not is_late:
            return
        if await withdraw(self._redis, progress.target.queue, progress.job_of(name)):
            error = Overloaded("The response waited too long for its turn.", code="queue_timeout")
            await self._close(request, progress, error)

    async def _go_on(self, name: str, progress: Progress, error: GatewayError) -> None:
        """Start the next attempt after one that failed, or close the response."""
        request = await self.records.request(name)
        if request is None:
            return
        if progress.events:
            # After content another answer would begin anew in the middle of the first one.
            text = "The worker that answered this response was lost, and with it the rest of the answer."
            await self._close(request, progress, StreamBroken(text, code="worker_lost"))
        elif not await self._next.start(request, progress, error):
            await self._close(request, progress, error)

    async def _end(self, name: str, progress: Progress) -> None:
        """End a response that was cancelled: out of its queue, or by its worker."""
        error = cancelled_for(progress.cancelled)
        if progress.worker and not await self._is_silent(progress):
            key = attempt_key(name, progress.attempt)
            signal = encode_signal(key, Signal.CANCEL, progress.cancelled)
            channel = control_channel(bytes.fromhex(progress.worker))
            await self._redis.publish(channel, bytes.fromhex(BACKGROUND_API) + signal)
            return
        is_out = progress.worker or progress.failure is not None
        is_out = is_out or await withdraw(self._redis, progress.target.queue, progress.job_of(name))
        # In no queue and without a worker: one may have claimed it just now, and not said so yet.
        is_out = is_out or self._is_doubted_long(name, progress.attempt)
        request = await self.records.request(name) if is_out else None
        if request is not None:
            await self._close(request, progress, error)

    async def _close(self, request: BackgroundRequest, progress: Progress, error: GatewayError) -> None:
        catalogue = self._services.settings.catalogue
        kept: bytes | None = await self._redis.hget(kept_response_key(request.draft.request_id), "b")  # type: ignore[misc]  # redis-py: or awaitable
        closing = await work_beside(
            len(request.draft.body), lambda: closing_of(request, progress, error, catalogue, kept)
        )
        await finish_now(self._redis, closing, self._finished)

    async def _close_lost(self, name: str, *, may_judge: bool) -> None:
        """Close a request of which Redis has lost all but that it is open."""
        if not may_judge or not self._is_doubted_long(name, 0):
            return
        raw = await self._redis.hget(open_requests(BACKGROUND_API), name)  # type: ignore[misc]  # redis-py: or awaitable
        if raw is not None:
            record = msgspec.structs.replace(_record.decode(raw), status=CANCELLED, error_code="orphaned")
            job = job_id(name, 1)
            closing = Closing.of(record, ClosingMode.OPEN, api_id=BACKGROUND_API, job_id=job)
            await finish_now(self._redis, closing, self._finished)
