"""Logging: one line each, `2026-11-23T03:12:00.123Z LEVEL name message`, to standard error.

Prompts, answers and credentials are never logged. arq's own INFO lines would show job arguments, so
arq and the HTTP libraries speak from WARNING on.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from typing import Any

_STEERING = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters, line separators of Unicode, and what turns the direction of writing."""


def escaped(text: str) -> str:
    """Return a text in which what could end its line or steer a terminal stands escaped."""
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class _Formatter(logging.Formatter):
    """Keeps every record to one line, whatever a client put into it; a traceback follows it, indented."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- the base class's name
        """Return the record's line."""
        return escaped(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 -- the base class's name
        """Return the lines of a traceback, none of which looks like the beginning of a record."""
        return "\n".join("  " + escaped(line) for line in super().formatException(ei).splitlines())


def configure_logging(level: str) -> None:
    """Send every log line of this process to standard error.

    Args:
        level: DEBUG, INFO, WARNING or ERROR.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("arq", "httpx", "hypercorn", "quart", "asyncio", "aiohttp"):
        # arq's INFO lines show jobs, and with them prompts.
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
