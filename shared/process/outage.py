"""The log of a server's outage: its beginning and its end, not each try."""

from __future__ import annotations

import logging
import time


class OutageLog:
    """Reports the outages of one server, as one part of this process meets them.

    Args:
        log: the part's logger.
        server: its name for people, as in `Redis`.
        part: what was tried, where the logger's name does not say it.
    """

    def __init__(self, log: logging.Logger, server: str, part: str = "") -> None:
        self._log = log
        self._server = f"{part}: {server}" if part else server
        self._since: float | None = None
        self._failures = 0

    def failed(self, error: BaseException) -> None:
        """Record a try that failed; the first one is logged."""
        self._failures += 1
        # Once: dozens of parts try several times a second while a server is away.
        if self._since is None:
            self._since = time.monotonic()
            self._log.warning("%s does not answer (%s)", self._server, type(error).__name__)

    def answered(self) -> None:
        """Record a try that went well; the first one after an outage is logged, with its length and failures."""
        if self._since is not None:
            outage_s = time.monotonic() - self._since
            self._log.info("%s answers again after %.1f s and %d failures", self._server, outage_s, self._failures)
            self._since, self._failures = None, 0
