"""Carries out what is asked for of the models on the disks of the Ollama servers that this process serves.

Each backend has one leader among its workers: it looks at what the server has, and installs and removes models. A
leader that falls silent is followed by another worker after `CLAW_HEARTBEAT_BOUND_S`, which goes on with the operations
that are not settled: Ollama pulls only what is missing. Should a leader not notice at once that it is none any more,
the server itself joins two pulls of one model.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec.structs import replace

from shared.errors import GatewayError, UpstreamError
from shared.models import ollama_operations
from shared.models.ollama_operations import LibraryState, ModelOperation
from shared.process.outage import OutageLog
from shared.process.tasks import wait_or
from shared.redis.client import UNREACHABLE
from workers.ollama_models.library import OllamaLibrary, PullProgress
from workers.ollama_models.memory import available_bytes
from workers.providers.ollama.provider import OllamaProvider

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis.asyncio import Redis

    from shared.settings import Settings
    from workers.backends.backend import Backend

_log = logging.getLogger(__name__)

LOOK_TIMEOUT_S: Final = 10.0
REMOVE_TIMEOUT_S: Final = 60.0
PROGRESS_S: Final = 0.5
MOST_PULLS: Final = 2
"""At a time, of one backend: more would only share the same line."""
RETRY_PAUSES_S: Final = (1.0, 5.0)
"""After a pull broke off or the server did not answer; then it has failed."""
SETTLE_RETRY_S: Final = 1.0
LEAVE_S: Final = 5.0


class _Running(NamedTuple):
    operation: ModelOperation
    task: asyncio.Task[None]


class OperationsLeader:
    """The leader of one backend's models, or one that stands by.

    Args:
        settings: intervals and bounds.
        redis: connections that every part shares.
        worker_id: this process, in hex digits.
        queue: the backend's.
        ollama: its server.
        on_change: has the backend offer what is on the disk now.
    """

    def __init__(
        self,
        settings: Settings,
        redis: Redis,
        worker_id: str,
        queue: str,
        ollama: OllamaLibrary,
        *,
        on_change: Callable[[], Awaitable[None]],
    ) -> None:
        self._settings = settings
        self._redis = redis
        self._worker_id = worker_id
        self._queue = queue
        self._ollama = ollama
        self._on_change = on_change
        self._running: dict[str, _Running] = {}
        self._ended: set[str] = set()
        self._look_at = 0.0
        self._looking = asyncio.Lock()
        self._look: asyncio.Task[None] | None = None
        self._outage = OutageLog(_log, "Redis", f"models of {queue}")

    async def run(self, stop: asyncio.Event) -> None:
        """Carry out operations until `stop`; pulls that are under way then are left to the next leader."""
        try:
            while not stop.is_set():
                await self._turn()
                await wait_or(stop, self._settings.heartbeat_s)
        finally:
            await self._leave()

    async def _turn(self) -> None:
        self._ended.clear()
        try:
            bound_s = self._settings.heartbeat_bound_s
            operations = await ollama_operations.lead(self._redis, self._queue, self._worker_id, bound_s)
            for operation in operations or ():
                if (
                    operation.is_settled
                    and time.time() - operation.changed_ms / 1000 > ollama_operations.SETTLED_LIFE_S
                ):
                    await ollama_operations.forget(self._redis, self._queue, operation)
        except UNREACHABLE as error:
            self._outage.failed(error)
            return
        self._outage.answered()
        if operations is None:
            # Another worker leads now: it goes on with the pulls, and two reports of one would contradict each other.
            self._cancel_all()
            return
        self._handle(operations)
        if time.monotonic() >= self._look_at and (self._look is None or self._look.done()):
            self._look_at = time.monotonic() + self._settings.discovery_interval_s
            self._look = asyncio.create_task(self._publish_state(), name=f"models of {self._queue}")

    def _handle(self, operations: list[ModelOperation]) -> None:
        """Begin what is to be done, stop what is no longer asked for."""
        for operation in sorted(operations, key=lambda operation: operation.asked_ms):
            running = self._running.get(operation.field)
            if running is not None:
                if running.operation.id != operation.id:
                    running.task.cancel()
            # One that ended since the list was read stands in it as it was before.
            elif not operation.is_settled and operation.id not in self._ended and self._has_room(operation):
                self._begin(operation)

    def _has_room(self, operation: ModelOperation) -> bool:
        pulls = sum(running.operation.kind == "install" for running in self._running.values())
        return operation.kind == "remove" or pulls < MOST_PULLS

    def _begin(self, operation: ModelOperation) -> None:
        task = asyncio.create_task(self._carry_out(operation), name=f"{operation.kind} {operation.model}")
        self._running[operation.field] = _Running(operation, task)
        task.add_done_callback(lambda _: self._end(operation))

    def _end(self, operation: ModelOperation) -> None:
        del self._running[operation.field]
        self._ended.add(operation.id)

    async def _carry_out(self, operation: ModelOperation) -> None:
        """Carry out an operation, and publish how it ended."""
        _log.info("%s: %s %s", self._queue, operation.kind, operation.model)
        try:
            ended = await (self._install(operation) if operation.kind == "install" else self._remove(operation))
        except GatewayError as error:
            ended = replace(operation, state="failed", error=error.message)
        except TimeoutError:
            ended = replace(operation, state="failed", error="Ollama did not answer in time.")
        except Exception:  # noqa: BLE001 -- a defect that ended this process would end the next one too
            _log.exception("%s of %s failed", operation.kind, operation.model)
            ended = replace(operation, state="failed", error="The gateway failed on this; its worker's log says why.")
        if ended.error is not None:
            _log.warning("%s: %s %s failed: %s", self._queue, operation.kind, operation.model, ended.error)
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_TIMEOUT_S):
                await self._on_change()
        # Before it is settled: who waits for that finds the list as it is then.
        await self._publish_state()
        await self._settle(ended)

    async def _install(self, operation: ModelOperation) -> ModelOperation:
        progress = PullProgress()
        # Told to end, not cancelled: Python 3.11's `wait_for`, in which redis-py sends, may lose a cancellation.
        ended = asyncio.Event()
        reporter = asyncio.create_task(self._report(operation, progress, ended), name=f"progress of {operation.model}")
        try:
            await self._pull(operation.model, progress)
        finally:
            ended.set()
            await reporter
        return replace(_so_far(operation, progress), state="done")

    async def _pull(self, model: str, progress: PullProgress) -> None:
        for pause_s in RETRY_PAUSES_S:
            try:
                await self._ollama.pull(model, progress)
            except UpstreamError as error:
                _log.warning("%s: pull of %s: %s", self._queue, model, error.message)
                await asyncio.sleep(pause_s)
            else:
                return
        await self._ollama.pull(model, progress)

    async def _report(self, operation: ModelOperation, progress: PullProgress, ended: asyncio.Event) -> None:
        """Write how far a pull is, whenever that has changed, until it has ended."""
        reported: ModelOperation | None = None
        while not ended.is_set():
            now = _so_far(operation, progress)
            if now != reported:
                with suppress(*UNREACHABLE):
                    await ollama_operations.note(self._redis, self._queue, now)
                    reported = now
            await wait_or(ended, PROGRESS_S)

    async def _remove(self, operation: ModelOperation) -> ModelOperation:
        async with asyncio.timeout(REMOVE_TIMEOUT_S):
            was_there = await self._ollama.remove(operation.model)
        if was_there or operation.may_be_absent:
            return replace(operation, state="done")
        return replace(operation, state="failed", error="There is no such model.", is_unknown=True)

    async def _settle(self, operation: ModelOperation) -> None:
        while True:
            try:
                await ollama_operations.note(self._redis, self._queue, operation)
            except UNREACHABLE:
                # As long as it takes: unsettled, it would be carried out again.
                await asyncio.sleep(SETTLE_RETRY_S)
            else:
                return

    async def _publish_state(self) -> None:
        """Ask the server, and write it where the api reads it. One at a time: an older answer must not come last."""
        async with self._looking:
            try:
                async with asyncio.timeout(LOOK_TIMEOUT_S):
                    models = await self._ollama.models()
            except (GatewayError, TimeoutError):
                state = LibraryState(is_reachable=False, free_ram_bytes=available_bytes(), models=())
            else:
                state = LibraryState(is_reachable=True, free_ram_bytes=available_bytes(), models=models)
            # Two looks and a change of leaders long: one late look is no reason to show nothing.
            life_s = 2 * self._settings.discovery_interval_s + LOOK_TIMEOUT_S + self._settings.heartbeat_bound_s
            with suppress(*UNREACHABLE):
                await ollama_operations.publish(self._redis, self._queue, state, life_s)

    def _cancel_all(self) -> None:
        for running in self._running.values():
            running.task.cancel()

    async def _leave(self) -> None:
        self._cancel_all()
        tasks = [running.task for running in self._running.values()]
        if self._look is not None:
            self._look.cancel()
            tasks.append(self._look)
        if tasks:
            await asyncio.wait(tasks, timeout=LEAVE_S)
        with suppress(*UNREACHABLE):
            await ollama_operations.leave(self._redis, self._queue, self._worker_id)
        await self._ollama.close()


def operation_leaders(
    settings: Settings, redis: Redis, worker_id: str, backends: list[Backend], announce: Callable[[], None]
) -> list[OperationsLeader]:
    """Build a leader for each backend whose server is an Ollama. `worker_id` in hex digits."""

    def rediscovery(backend: Backend) -> Callable[[], Awaitable[None]]:
        async def rediscover() -> None:
            if await backend.discover():
                announce()

        return rediscover

    return [
        OperationsLeader(
            settings,
            redis,
            worker_id,
            backend.queue,
            OllamaLibrary(backend.provider.base_url),
            on_change=rediscovery(backend),
        )
        for backend in backends
        # The cloud's models of such a server are on no disk of ours.
        if isinstance(backend.provider, OllamaProvider) and backend.tier == "local"
    ]


def _so_far(operation: ModelOperation, progress: PullProgress) -> ModelOperation:
    """Return a pull under way with its progress."""
    completed, total = progress.completed_bytes, progress.total_bytes
    return replace(operation, state="running", detail=progress.status, completed_bytes=completed, total_bytes=total)
