"""`python -m api`: one api process on Hypercorn and uvloop."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import sys
from typing import TYPE_CHECKING, Final

import uvloop
from hypercorn.asyncio import serve

from api.app import create_app
from api.http.drain import CLOSING_S, LAST_READ_S, Drain
from api.server.config import ServerConfig
from api.server.hypercorn_server import install
from shared.process.limits import allow_many_files, freeze_heap
from shared.process.log import configure_logging
from shared.process.loop_watch import spawn_watch
from shared.process.tasks import end_all
from shared.process.threads import prepare_structs
from shared.redis.probe import RedisUnusable, check_at_start
from shared.setting_values import SettingsError
from shared.settings import load_settings, require, unknown_variables

if TYPE_CHECKING:
    from quart import Quart

    from shared.settings import Settings

_log = logging.getLogger(__name__)

# sysexits.h: at a start `nself claw up` gives up on a process that ends so, and does not start it again.
EX_CONFIG: Final = 78
KEEP_ALIVE_S: Final = 30.0
"""Also how long a partial request head may take."""
BACKLOG: Final = 2048  # Hypercorn's 100 is too few for many clients at once
QUEUED_CHUNKS: Final = 2
"""Pieces of a body, of 64 KiB at most, that wait for a handler: what a connection without a key may cost."""


def hypercorn_config(settings: Settings) -> ServerConfig:
    """Return how we want to be served; each value is one whose default is wrong for streams or for many clients."""
    config = ServerConfig()
    config.bind = [f"{settings.host}:{settings.port}"]
    config.processes = settings.api_processes or 1
    config.backlog = BACKLOG
    config.max_app_queue_size = QUEUED_CHUNKS
    config.keep_alive_timeout = KEEP_ALIVE_S
    # Hypercorn's 1,000 would end a busy client's connection again and again.
    config.keep_alive_max_requests = 1_000_000
    # Past all steps of `Drain`, which end by themselves: Hypercorn's own 3 s would cut them off.
    config.graceful_timeout = settings.drain_s + LAST_READ_S + CLOSING_S
    config.include_server_header = False
    config.accesslog = None  # requests have lines of ours (`shared/process/finished.py`)
    config.is_direct = settings.http == "direct"
    config.errorlog = logging.getLogger("hypercorn.error")
    return config


async def _serve(app: Quart, config: ServerConfig, settings: Settings) -> None:
    """Serve until a signal.

    Raises:
        RedisUnusable: the Redis answers, but cannot serve us as it is set up.
    """
    watch = spawn_watch(settings.loop_watch_s)
    await check_at_start(settings.redis_url or "")
    drain = Drain(app, config, settings)
    drain.handle_signals()
    try:
        await serve(app, config, shutdown_trigger=drain.until_closed)
    except OSError as error:
        # Another program has begun to listen there since we bound. Leaving the loop would wait for the tasks of an app
        # that Hypercorn does not stop then.
        os._exit(_cannot_listen(settings, error))
    # Hypercorn does not wait for a connection that it accepted in the moment of the signal.
    config.abort_connections()
    if config.connections:
        await asyncio.wait(config.connections, timeout=CLOSING_S)
    _log.info("stopped")
    await end_all(watch)


def main() -> int:
    """Serve until a signal; return the exit code."""
    try:
        settings = load_settings()
        configure_logging(settings.log_level, settings.log_format)
        require(settings, "redis_url", "database_url", "internal_secret")
    except SettingsError as error:
        return _fail(str(error))
    for unknown in unknown_variables():
        _log.warning("%s", unknown)
    faulthandler.enable()  # where a C library ends it, its log says where that was
    allow_many_files()
    freeze_heap()
    install()
    config = hypercorn_config(settings)
    try:
        # Before anything is started: a port that is taken ends the process at once, and says so.
        config.bind_sockets()
        app = create_app(settings)
        prepare_structs()
        uvloop.run(_serve(app, config, settings))
    except RedisUnusable as error:
        return _fail(str(error))
    except OSError as error:
        return _cannot_listen(settings, error)
    return 0


def _cannot_listen(settings: Settings, error: OSError) -> int:
    return _fail(f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}")


def _fail(reason: str) -> int:
    print(f"python -m api: {reason}", file=sys.stderr)  # noqa: T201 -- for a terminal
    return EX_CONFIG


if __name__ == "__main__":
    sys.exit(main())
