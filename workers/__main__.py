"""`python -m workers local|gemini|paid|recorder`: one worker process."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import signal
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

import uvloop

from shared.models.tokenizers import read_vocabulary
from shared.postgres.database import Database
from shared.process.finished import log_finished
from shared.process.limits import allow_many_files, freeze_heap
from shared.process.log import configure_logging
from shared.process.loop_watch import spawn_watch
from shared.process.tasks import end_all, spawn_critical
from shared.process.threads import prepare_structs
from shared.process.tracing.start import start_tracing
from shared.redis import client as redis_client
from shared.redis.probe import RedisUnusable, check_at_start
from shared.setting_values import SettingsError
from shared.settings import Settings, load_credentials, load_settings, require
from shared.types import TIERS, Tier
from workers.backends.build import backends_of
from workers.ollama_models.leader import operation_leaders
from workers.process import WorkerProcess
from workers.providers.http.client import is_direct
from workers.recording.orphans import close_orphans
from workers.recording.recorder import record
from workers.recording.retention import keep_short

if TYPE_CHECKING:
    from shared.process.tracing.tracer import Tracing
    from workers.attempts.tracing import AttemptTracer
    from workers.metrics import WorkerMetrics

_log = logging.getLogger("workers")

EX_CONFIG: Final = 78


async def run_tier(settings: Settings, tier: Tier, stop: asyncio.Event) -> None:
    """Serve a tier until `stop`. A tier without credentials idles."""
    redis = redis_client.connect(settings.redis_url or "", is_piped=settings.redis_pipe)
    is_direct.set(settings.upstream_http == "direct")
    # The other tiers keep nothing there, and need not know where it is.
    database = Database(settings.database_url) if tier == "gemini" and settings.database_url else None
    backends = backends_of(tier, settings, load_credentials(tier), redis, database)
    # Here, where no request has to wait for it yet, and the providers' modules have been imported.
    prepare_structs()
    if not backends:
        _log.info("the %s tier has no account configured: idle", tier)
    if any(backend.tier == "paid" for backend in backends):
        # Before it serves: reading it holds Python's lock for a second or two (docs/decisions/0016-token-counts.md).
        read_vocabulary()
    metrics = _metrics(settings)
    tracing = start_tracing(settings.tracing, f"worker-{tier}")
    tracer = None if tracing is None else _attempt_tracer(tracing, settings)
    process = WorkerProcess(
        settings, redis, tier, backends, metrics.finished if metrics else log_finished, tracer=tracer
    )
    if metrics is not None:
        metrics.start(redis, tier, process)
    libraries = operation_leaders(settings, redis, process.worker_id.hex(), backends, process.announce)
    leaders = [spawn_critical(library.run(stop), name="models") for library in libraries]
    try:
        async with database or nullcontext():
            await process.run(stop)
        stop.set()  # The operator may have drained it.
        await asyncio.gather(*leaders, return_exceptions=True)
    finally:
        if metrics is not None:
            await metrics.stop()
        if tracing is not None:
            await tracing.close()
        await redis_client.close(redis)


async def run_recorder(settings: Settings, stop: asyncio.Event) -> None:
    """Write the usage log until `stop`."""
    redis = redis_client.connect(settings.redis_url or "", is_piped=settings.redis_pipe)
    metrics = _metrics(settings)
    if metrics is not None:
        metrics.start(redis, "recorder")
    finished = metrics.finished if metrics else log_finished
    try:
        async with Database(settings.database_url or "") as database:
            orphans = asyncio.create_task(close_orphans(redis, stop, settings.api_gone_s, finished), name="orphans")
            retention = asyncio.create_task(
                keep_short(
                    database,
                    usage_days=settings.usage_retention_days,
                    session_days=settings.retention_days,
                    stop=stop,
                ),
                name="retention",
            )
            await record(redis, database, stop)
            await asyncio.gather(orphans, retention)
    finally:
        if metrics is not None:
            await metrics.stop()
        await redis_client.close(redis)


def _attempt_tracer(tracing: Tracing, settings: Settings) -> AttemptTracer:
    # Only here: what it imports is OpenTelemetry's.
    from workers.attempts.tracing import AttemptTracer  # noqa: PLC0415 -- see above

    return AttemptTracer(tracing, settings.catalogue)


def _metrics(settings: Settings) -> WorkerMetrics | None:
    if settings.metrics_port is None:
        return None
    # Only here: a process without metrics does not pay for what they need.
    from workers.metrics import WorkerMetrics  # noqa: PLC0415 -- see above

    return WorkerMetrics(settings)


async def _until_signalled(settings: Settings, kind: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    watch = spawn_watch(settings.loop_watch_s)
    await check_at_start(settings.redis_url or "")
    if kind == "recorder":
        await run_recorder(settings, stop)
    elif kind in TIERS:
        await run_tier(settings, kind, stop)
    await end_all(watch)


def main() -> int:
    """Run the process that the command line names; return the exit code."""
    kinds = (*TIERS, "recorder")
    if len(sys.argv) != 2 or sys.argv[1] not in kinds:
        print(f"usage: python -m workers {'|'.join(kinds)}", file=sys.stderr)  # noqa: T201 -- for a terminal
        return 64
    kind = sys.argv[1]
    try:
        settings = load_settings()
        configure_logging(settings.log_level, settings.log_format)
        required = ("redis_url", "database_url") if kind == "recorder" else ("redis_url",)
        require(settings, *required)
        # Read only to be checked, here where an error has an exit code; run_tier reads them again.
        load_credentials(kind)
    except SettingsError as error:
        print(f"python -m workers {kind}: {error}", file=sys.stderr)  # noqa: T201 -- for a terminal
        return EX_CONFIG
    faulthandler.enable()  # where a C library ends it, its log says where that was
    allow_many_files()
    freeze_heap()
    try:
        uvloop.run(_until_signalled(settings, kind))
    except RedisUnusable as error:
        print(f"python -m workers {kind}: {error}", file=sys.stderr)  # noqa: T201 -- for a terminal
        return EX_CONFIG
    return 0


if __name__ == "__main__":
    sys.exit(main())
