"""Logging: one line each, `2026-11-23T03:12:00.123Z LEVEL name message`, to standard error.

Prompts, answers and credentials are never logged. arq's own INFO lines would show job arguments, so
arq and the HTTP libraries speak from WARNING on.
"""

from __future__ import annotations

import logging
import sys
import time


class _Formatter(logging.Formatter):
    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"


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
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
