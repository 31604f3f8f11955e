"""Requests that were refused before they had a key: they have no row in the usage log, so each has a line here.

Nobody who has no key can fill the log: past a bound, a minute's refusals are counted.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from quart import g, request

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)

MOST_LINES: Final = 20
"""A minute."""
MINUTE_S: Final = 60.0
MOST_PATH_CHARS: Final = 100


def known() -> None:
    """Record that the current request has a key, or the internal token: its end is logged elsewhere."""
    g.is_known = True


class RefusalLog:
    """The refusals of one api process.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._lines = 0
        self._unlogged = 0

    def refused(self, method: str, path: str, client: str, why: str) -> None:
        """Log a refusal, without what the client gave as a key.

        Args:
            method: of HTTP.
            path: without its query, in which somebody may send a key.
            client: the address that it came from.
            why: status and code of the answer.
        """
        now = self._clock()
        if now - self._since >= MINUTE_S:
            if self._unlogged:
                _log.info("%d more requests were refused before they had a key", self._unlogged)
            self._since, self._lines, self._unlogged = now, 0, 0
        if self._lines >= MOST_LINES:
            self._unlogged += 1
            return
        self._lines += 1
        shown = path if len(path) <= MOST_PATH_CHARS else f"{path[:MOST_PATH_CHARS]}..."
        _log.info("refused %s %s from %s: %s", method, shown, client, why)

    def response_ends(self) -> None:
        """Log the current request, if it was refused and had no key."""
        failure: str | None = g.get("failure")
        if failure is not None and not g.get("is_known"):
            self.refused(request.method, request.path, request.remote_addr or "an unknown address", failure)
