"""The end of an api process: in steps, so that a load balancer in front of it sends nobody into a closed door."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from api.gateway import EXTENSION

if TYPE_CHECKING:
    from quart import Quart

    from api.gateway import Gateway
    from api.server.config import ServerConfig
    from shared.settings import Settings

_log = logging.getLogger(__name__)

SETTLE_S: Final = 0.5
"""Time that connections which had begun may take to bring their first request, once new ones are kept away."""
LAST_READ_S: Final = 2.0
"""Time that a client may take, after the drain time, to read how its request ended."""
CLOSING_S: Final = 1.0
"""Time that aborted connections may take to close."""
_CLEANUP_S: Final = 15.0


class Drain:
    """The end of one api process.

    At the first signal `/ready` begins to say `draining`, and each response becomes the last of its connection. For
    `drain_delay_s` all requests are served, new ones too: so long a balancer may take to notice. Then the listener
    closes, and what runs may end within `drain_s`. A second signal ends the delay.

    Args:
        app: its gateway is there once it has started.
        config: what listens.
        settings: how long each step takes.
    """

    def __init__(self, app: Quart, config: ServerConfig, settings: Settings) -> None:
        self._app = app
        self._config = config
        self._settings = settings
        self._signalled = asyncio.Event()
        self._hurried = asyncio.Event()

    def handle_signals(self) -> None:
        """Begin at SIGINT or SIGTERM."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signal)

    def _signal(self) -> None:
        if self._signalled.is_set():
            self._hurried.set()
        self._signalled.set()

    async def until_closed(self) -> None:
        """Wait for a signal and through the delay; what returns then is Hypercorn's cue to close its listener."""
        _log.info("listening on http://%s:%d", self._settings.host, self._settings.port)
        await self._signalled.wait()
        gateway: Gateway = self._app.extensions[EXTENSION]
        self._config.is_draining = gateway.draining = True
        delay_s, drain_s = self._settings.drain_delay_s, self._settings.drain_s
        _log.info("draining: new requests are served for %g s, then running ones may take %g s", delay_s, drain_s)
        # Whatever hangs then: the process ends, and shows where it stood.
        faulthandler.dump_traceback_later(delay_s + SETTLE_S + drain_s + LAST_READ_S + _CLEANUP_S, exit=True)
        if delay_s:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurried.wait(), delay_s)
            self._config.ignore_new_connections()
            await asyncio.sleep(SETTLE_S)
        loop = asyncio.get_running_loop()
        loop.call_later(drain_s, gateway.abort_on_drain_timeout)
        # Later than that: clients get to read the error with which their requests ended.
        loop.call_later(drain_s + LAST_READ_S, self._config.abort_connections)
        self._config.close_idle_connections()
