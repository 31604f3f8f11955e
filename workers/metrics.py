"""Metrics of a worker process: of its backends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.process.metrics.families import counter, gauge
from shared.process.metrics.process import ProcessMetrics

if TYPE_CHECKING:
    from prometheus_client.core import Metric
    from redis.asyncio import Redis

    from shared.settings import Settings
    from workers.process import WorkerProcess

_QUEUE = ("queue",)


class WorkerMetrics:
    """The metrics of a worker process, or of a recorder, which closes requests too.

    Args:
        settings: where to listen.
    """

    def __init__(self, settings: Settings) -> None:
        self._process: WorkerProcess | None = None
        self._metrics = ProcessMetrics(settings, self._is_served)
        self.finished = self._metrics.finished

    def start(self, redis: Redis, role: str, process: WorkerProcess | None = None) -> None:
        """Begin to serve them; a recorder has no `process`."""
        self._process = process
        self._metrics.start(redis, role, [] if process is None else [lambda: worker_metrics(process)])

    async def stop(self) -> None:
        """Serve them no more."""
        await self._metrics.stop()

    def _is_served(self, model: str) -> bool:
        backends = [] if self._process is None else self._process.backends
        return any(known.id == model for backend in backends for known in backend.models)


async def worker_metrics(process: WorkerProcess) -> list[Metric]:
    """Return what a process has done and does, by the queues of its backends."""
    queues, backends = process.queues, {backend.queue: backend for backend in process.backends}
    return [
        counter(
            "claw_attempts",
            "Attempts that ended here.",
            _QUEUE,
            [((name,), queue.jobs_complete + queue.jobs_failed) for name, queue in queues.items()],
        ),
        counter(
            "claw_attempts_failed",
            "Attempts that their upstream failed before its first content.",
            _QUEUE,
            [((name,), backend.failures) for name, backend in backends.items()],
        ),
        counter(
            "claw_take_overs",
            "Jobs that waited for another backend and were taken over.",
            _QUEUE,
            [((name,), queue.jobs_taken_over) for name, queue in queues.items()],
        ),
        gauge(
            "claw_attempts_running",
            "Attempts that run here now.",
            _QUEUE,
            [((name,), queue.running) for name, queue in queues.items()],
        ),
        gauge(
            "claw_upstream_up",
            "Whether the upstream has models for us: 0 while it does not answer.",
            _QUEUE,
            [((name,), bool(backend.models)) for name, backend in backends.items()],
        ),
        counter("claw_relay_resends", "Times that an api process asked for frames again.", (), [((), process.resends)]),
    ]
