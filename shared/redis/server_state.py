"""The state of a server as one client's connections have seen it: that it is no master any more, or refuses commands.

A fail-over behind a plain address (a DNS name, a virtual IP, a proxy) leaves old connections with the demoted master.
The first of them that notices ends the reign, and the pool makes all others anew.
"""

from __future__ import annotations

import logging
import time
from typing import Final

from redis.exceptions import BusyLoadingError, NoScriptError, ReadOnlyError, RedisError

_log = logging.getLogger(__name__)

LOG_AGAIN_S: Final = 60.0
SHOWN_S: Final = 60.0
"""For how long the last fault is shown."""
_IN_ORDER: Final = ("BUSYGROUP", "NOGROUP")
"""Codes of answers that their callers wait for."""


class ServerState:
    """The state of a server as the connections of one client have seen it.

    Attributes:
        reign: a number that changes when a connection finds that its server is not the master.
    """

    def __init__(self) -> None:
        self.reign = 0
        self._logged_at: dict[str, float] = {}
        self._fault = ""
        self._fault_at = 0.0

    @property
    def fault(self) -> str:
        """Return the text of the last command that Redis refused, if there was one within a minute; else empty."""
        return self._fault if time.monotonic() - self._fault_at < SHOWN_S else ""

    def end_reign(self, of: int) -> None:
        """Make every connection of this reign connect anew."""
        # Many connections notice the same fail-over: one of them is enough.
        if of == self.reign:
            self.reign += 1

    def note_fault(self, error: RedisError) -> None:
        """Log the text of a refused command: each kind once a minute, since every request may meet it."""
        # Part of normal work: the script is sent, the group made or there.
        if isinstance(error, NoScriptError) or str(error).startswith(_IN_ORDER):
            return
        kind = f"{type(error).__name__} {str(error).partition(' ')[0]}"
        now = self._fault_at = time.monotonic()
        self._fault = fault_text(error)
        if now - self._logged_at.get(kind, -LOG_AGAIN_S) >= LOG_AGAIN_S:
            self._logged_at[kind] = now
            _log.error("Redis refuses a command: %s", self._fault)


def is_no_master(error: RedisError) -> bool:
    """Return whether an answer shows that a connection should be made anew: to the master, wherever that is now."""
    return isinstance(error, ReadOnlyError | BusyLoadingError) or str(error).startswith("MASTERDOWN")


def fault_text(error: RedisError) -> str:
    """Return what Redis said, with what it is about where redis-py has taken the code off, in one bounded line."""
    name = type(error).__name__
    text = str(error) if name == "ResponseError" else f"{name.removesuffix('Error')}: {error}"
    return " ".join(text.split())[:300]
