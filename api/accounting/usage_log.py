"""The usage-log writer of an api process, out of every request's way.

Steps wait here while Redis is down and go out together, in their order, when it is back.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import deque
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from api.accounting.refusals import MINUTE_MS, MOST_OWNERS, Refusals, most_refusals
from shared.dialects.stored.pending import ResponseEnd
from shared.openai.sessions.turn_end import TurnEnd
from shared.process.finished import log_finished
from shared.process.tasks import end_all, spawn_critical
from shared.redis import scripts
from shared.redis.client import UNREACHABLE
from shared.redis.names import USAGE_STREAM, arriving_key, in_progress_key, job_key, owner_of, rate_key, rows_key
from shared.usage import Closing, ClosingMode, encode_record, finish

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis
    from redis.asyncio.client import Pipeline

    from shared.dialects.stored.pending import StoredHead
    from shared.usage import Finished, UsageRecord

    _Step = Callable[[Pipeline], object]

_log = logging.getLogger(__name__)

MOST_STEPS: Final = 100_000
BATCH: Final = 500
RETRY_S: Final = 0.5
CANCELLED: Final = 499
"""The status of a request that its client has left."""
COUNT_S: Final = 0.5
"""Interval at which a row that stands for many is written again."""


class UsageLogWriter:
    """Closes requests in the usage log, and records those that were never open.

    Args:
        redis: connections that every part shares.
        api_id: this process, in hex digits.
        is_full: whether the log has no room: rows for requests that were never open are counted here meanwhile.
        finished: told of each request that this closes, and of each row that stands for many.
    """

    def __init__(
        self, redis: Redis, api_id: str, is_full: Callable[[], bool] = bool, finished: Finished = log_finished
    ) -> None:
        self._redis = redis
        self._api_id = api_id
        self.is_full = is_full
        self._finished = finished
        self._steps: deque[tuple[_Step, Callable[[int], None] | None]] = deque()
        self._rows: dict[tuple[str, int, str], int] = {}
        self._counting: dict[_Row, tuple[UsageRecord, int]] = {}
        self._refusals = Refusals()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = spawn_critical(self._write_loop(), name="usage log")

    async def stop(self) -> None:
        """Write what is left, as far as Redis takes it."""
        await end_all(self._task)
        self._count_now()
        while self._steps and await self._write():
            pass

    def add(self, record: UsageRecord, rpm_limit: int) -> None:
        """Record a request that was never open: refused, or answered without a model.

        Args:
            record: it, as it ended.
            rpm_limit: of its key; refusals beyond its window, and as many others, are counted in one row.
        """
        owner, minute = owner_of(record.key_id), record.admitted_ms // MINUTE_MS
        # 499 is a client that left: no refusal.
        # Nor is a request of our own one of the key's.
        kind = "own" if record.purpose else "refused" if 400 <= record.status < 499 else "other"
        row = _Row(owner, minute, kind, record.status, record.error_code)
        most = most_refusals(rpm_limit)
        # Past the bound one row stands for many: refusals cost the client nothing, and must not fill the log.
        if row in self._counting or self.is_full() or (most and self._rows.get((owner, minute, row.kind), 0) >= most):
            counted, number = self._counting.get(row, (record, 0))
            self._counting[row] = (counted, number + 1)
            self._wake.set()
            return
        self._later(self._row_step(row, record, most, 1), partial(self._counted, row))
        self._finished(record)

    def is_refused_too_often(self, key_id: str | None, rpm_limit: int) -> bool:
        """Return whether a key has to wait for the next minute, since it was refused too often in this one."""
        return self._refusals.is_over(owner_of(key_id), rpm_limit, int(time.time() * 1000))

    def _row_step(self, row: _Row, record: UsageRecord, most: int, number: int) -> _Step:
        keys = [rows_key(row.owner, row.minute), USAGE_STREAM]
        # Both: which of them is written the script decides, since other processes count in the same minute.
        single = encode_record(record) if number == 1 else b""
        # Without its closing brace: count_row.lua adds the count, which it alone knows.
        start = encode_record(msgspec.structs.replace(record, request_id=row.request_id()))[:-1]
        arguments = (row.kind, most, number, f"{row.status} {row.code or ''}", single, start)
        return lambda pipeline: scripts.add(pipeline, scripts.COUNT_ROW, keys, *arguments)

    def _counted(self, row: _Row, total: int) -> None:
        if len(self._rows) >= MOST_OWNERS:
            self._rows = {known: count for known, count in self._rows.items() if known[1] >= row.minute}
        self._rows[row.owner, row.minute, row.kind] = total
        if row.kind == "refused":
            self._refusals.counted(row.owner, row.minute, total)

    def close(self, record: UsageRecord, job_id: str, *, has_session: bool, stored: StoredHead | None = None) -> None:
        """Record how an open request ended, unless somebody did so before; remove its job, settle its budget.

        Of a request that `has_session` what its worker has kept of the answer becomes a turn, and a stored response
        of one that is `stored`.
        """
        turn: TurnEnd | ResponseEnd | None = None
        if has_session:
            turn = TurnEnd("cancelled" if record.status == CANCELLED else "broken")
        elif stored is not None:
            turn = ResponseEnd(conversation_id=stored.conversation_id)
        self._finish(record, job_id, ClosingMode.OPEN, turn)

    def refuse_unconfirmed(self, record: UsageRecord, job_id: str, *, api_id: str = "") -> None:
        """Record a request that Redis may have opened or not: it is refused either way, and gives back what it took.

        Args:
            record: it, as it ended.
            job_id: its first attempt's.
            api_id: under which it would be open, where that is not this process.
        """
        self._finish(record, job_id, ClosingMode.NEW, api_id=api_id)
        rate = rate_key(owner_of(record.key_id))

        def give_back(pipeline: Pipeline) -> None:
            pipeline.zrem(rate, record.request_id)

        self._later(give_back)
        self._later(lambda pipeline: pipeline.delete(arriving_key(job_id)))

    def _finish(
        self,
        record: UsageRecord,
        job_id: str,
        closes: ClosingMode,
        turn: TurnEnd | ResponseEnd | None = None,
        *,
        api_id: str = "",
    ) -> None:
        closing = Closing.of(record, closes, api_id=api_id or self._api_id, job_id=job_id, turn=turn)
        self._later(lambda pipeline: finish(pipeline, closing), partial(closing.report, finished=self._finished))

    def drop(self, job_id: str) -> None:
        """Remove the job of an attempt that nobody will end; its request is left as it is."""
        self._later(lambda pipeline: pipeline.delete(job_key(job_id), in_progress_key(job_id)))

    def _later(self, step: _Step, done: Callable[[int], None] | None = None) -> None:
        # Better some usage lost than a process that grows until it is killed, and loses all of it.
        if len(self._steps) >= MOST_STEPS:
            _log.error("usage is lost: Redis is down and too much waits to be logged")
            return
        self._steps.append((step, done))
        self._wake.set()

    def _count_now(self) -> None:
        """Build the counted rows: one each, however many requests they stand for."""
        counting, self._counting = self._counting, {}
        for row, (record, number) in counting.items():
            self._later(self._row_step(row, record, 1, number), partial(self._counted, row))
            self._finished(msgspec.structs.replace(record, request_id=row.request_id(), count=number))

    async def _write_loop(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            # Counted rows are records as well: while the log is full they wait, too.
            if not self.is_full():
                self._count_now()
            while self._steps:
                if not await self._write():
                    await asyncio.sleep(RETRY_S)
            if self._counting:
                await asyncio.sleep(COUNT_S)
                self._wake.set()

    async def _write(self) -> bool:
        batch = list(islice(self._steps, BATCH))
        pipeline = self._redis.pipeline(transaction=False)
        for step, _ in batch:
            step(pipeline)
        try:
            results = await pipeline.execute()
        except UNREACHABLE:
            return False
        for (_, done), result in zip(batch, results, strict=True):
            # Removed only now that Redis has answered: until then the batch goes out again, in the same order.
            self._steps.popleft()
            if done is not None:
                done(int(result))
        return True


class _Row(NamedTuple):
    """A row that may stand for many requests: of one owner, minute, status and code."""

    owner: str
    minute: int
    kind: str
    status: int
    code: str | None

    def request_id(self) -> str:
        """Return the id of the row, the same in every api process; 32 hex digits."""
        # Not `hash`, which differs from process to process.
        return hashlib.blake2b(repr(self).encode(), digest_size=16).hexdigest()
