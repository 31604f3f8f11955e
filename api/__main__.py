"""`python -m api`: one api process on Hypercorn and uvloop."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from typing import TYPE_CHECKING, Final

import uvloop
from hypercorn.asyncio import serve

from api.app import create_app
from api.gateway import EXTENSION
from api.hypercorn_server import ServerConfig, install
from shared.process.limits import allow_many_files
from shared.process.log import configure_logging
from shared.redis.probe import RedisUnusable, check_at_start
from shared.setting_values import SettingsError
from shared.settings import load_settings, require, unknown_variables

if TYPE_CHECKING:
    from quart import Quart

    from api.gateway import Gateway
    from shared.settings import Settings

_log = logging.getLogger(__name__)

EX_CONFIG: Final = 78
KEEP_ALIVE_S: Final = 30.0
"""Also how long a partial request head may take."""
BACKLOG: Final = 2048
QUEUED_CHUNKS: Final = 2
"""Pieces of a body, of 64 KiB at most, that wait for a handler: what a connection without a key may cost."""
LAST_READ_S: Final = 2.0
"""How long a client may take, after the drain time, to read how its request ended."""
CLOSING_S: Final = 1.0
"""How long aborted connections may take to close."""


def hypercorn_config(settings: Settings) -> ServerConfig:
    """Return how we want to be served; each value is one whose default is wrong for streams or for many clients."""
    config = ServerConfig()
    config.bind = [f"{settings.host}:{settings.port}"]
    config.backlog = BACKLOG
    config.max_app_queue_size = QUEUED_CHUNKS
    config.keep_alive_timeout = KEEP_ALIVE_S
    config.keep_alive_max_requests = 1_000_000
    config.graceful_timeout = settings.drain_s + LAST_READ_S + CLOSING_S
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    return config


async def _serve(app: Quart, settings: Settings) -> None:
    """Serve until a signal.

    Raises:
        RedisUnusable: the Redis answers, but cannot serve us as it is set up.
    """
    await check_at_start(settings.redis_url or "")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    config = hypercorn_config(settings)

    def drain() -> None:
        gateway: Gateway | None = app.extensions.get(EXTENSION)
        # A second signal must not begin the drain time anew.
        if gateway is not None and not gateway.draining:
            gateway.draining = True
            loop.call_later(settings.drain_s, gateway.abort_on_drain_timeout)
            # Later than that: clients get to read the error with which their requests ended.
            loop.call_later(settings.drain_s + LAST_READ_S, config.abort_connections)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, drain)

    async def until_stopped() -> None:
        await stop.wait()

    await serve(app, config, shutdown_trigger=until_stopped)
    # Hypercorn does not wait for a connection that it accepted in the moment of the signal.
    config.abort_connections()
    if config.connections:
        await asyncio.wait(config.connections, timeout=CLOSING_S)


def main() -> int:
    """Serve until a signal; return the exit code."""
    try:
        settings = load_settings()
        configure_logging(settings.log_level)
        require(settings, "redis_url", "database_url", "internal_secret")
    except SettingsError as error:
        print(f"python -m api: {error}", file=sys.stderr)  # noqa: T201
        return EX_CONFIG
    for unknown in unknown_variables():
        _log.warning("%s", unknown)
    allow_many_files()
    install()
    try:
        uvloop.run(_serve(create_app(settings), settings))
    except RedisUnusable as error:
        print(f"python -m api: {error}", file=sys.stderr)  # noqa: T201
        return EX_CONFIG
    return 0


if __name__ == "__main__":
    sys.exit(main())
