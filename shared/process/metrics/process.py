"""The metrics of one process: its counters, how long its event loop is held, and its listener."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from shared.process.finished import log_finished
from shared.process.metrics.listener import MetricsListener
from shared.process.metrics.requests import RequestMetrics
from shared.process.metrics.targets import Targets
from shared.process.tasks import end_all, spawn_critical
from shared.redis.client import UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis.asyncio import Redis

    from shared.process.metrics.listener import Source
    from shared.settings import Settings
    from shared.usage import UsageRecord

LAG_S: Final = 0.25
_LAG_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
WITHDRAW_S: Final = 1.0


class ProcessMetrics:
    """Counts, measures and serves.

    Args:
        settings: where to listen.
        is_served: whether a name is that of a model which somebody serves now.
    """

    def __init__(self, settings: Settings, is_served: Callable[[str], bool]) -> None:
        self._settings = settings
        # A series more for each counter, which no query of ours reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client has no types here
        self._registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)
        self._requests = RequestMetrics(self._registry, is_served)
        self._lag = Histogram(
            "claw_event_loop_lag_seconds",
            f"How much later than asked for the event loop wakes a task, looked at every {LAG_S:g} s.",
            buckets=_LAG_BUCKETS_S,
            registry=self._registry,
        )
        self._targets: Targets | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def finished(self, record: UsageRecord) -> None:
        """Log and count a request that this process closed."""
        log_finished(record)
        self._requests.count(record)

    def start(self, redis: Redis, role: str, sources: Sequence[Source] = ()) -> None:
        """Begin to measure and to serve.

        Args:
            redis: where the process is announced.
            role: what it is.
            sources: what is read at each scrape.
        """
        host, port = self._settings.metrics_host, self._settings.metrics_port or 0
        self._targets = Targets(redis, role, host, port)
        listener = MetricsListener(self._registry, sources, self._targets.document)
        self._tasks = [
            spawn_critical(listener.serve(host, port), name="metrics"),
            spawn_critical(self._targets.announce(), name="metrics target"),
            spawn_critical(self._watch_lag(), name="event loop lag"),
        ]

    async def stop(self) -> None:
        """Stop listening, and say so."""
        await end_all(*self._tasks)
        if self._targets is not None:
            with suppress(*UNREACHABLE):
                async with asyncio.timeout(WITHDRAW_S):
                    await self._targets.withdraw()

    async def _watch_lag(self) -> None:
        while True:
            due = time.monotonic() + LAG_S
            await asyncio.sleep(LAG_S)
            self._lag.observe(max(0.0, time.monotonic() - due))
