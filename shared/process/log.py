"""Logging: one line each, `2026-11-23T03:12:00.123Z LEVEL name message`, or a JSON object, to standard error.

Prompts, answers and credentials are never logged. arq's own INFO lines would show job arguments, so
arq and the HTTP libraries speak from WARNING on.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from contextvars import ContextVar
from typing import Any, Final

import msgspec

from shared.process.tracing.context import current_trace_id

_STEERING = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters, line separators of Unicode, and what turns the direction of writing."""
_PLAIN: Final = re.compile(r"[\w.:/@+-]+", re.ASCII)
"""A value of a field that needs no quotes."""
_NAMED: Final = re.compile(r"\b(?:request|attempt|job) ([0-9a-f]{32})\b")
"""Form in which a message names its request where the task that logs it is not the request's own."""

REQUEST_ID: Final[ContextVar[str]] = ContextVar("request_id", default="")
"""The request that the current task is about, in hex digits: each line that it logs says so."""


def escaped(text: str) -> str:
    """Return a text in which what could end its line or steer a terminal stands escaped."""
    # Far cheaper than to look for each of them, and true of nearly every line.
    if text.isascii() and text.isprintable():
        return text
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _quoted(value: object) -> str:
    """Return a value of a field as it stands in a line: what could be taken for another field is a JSON string."""
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) else _json(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _json(value: object) -> str:
    # All but ASCII is escaped, so that no terminal and no encoding can matter.
    try:
        text = msgspec.json.encode(value)
    except UnicodeEncodeError:  # half of a surrogate pair
        # Has json.dumps write it below, which escapes halves.
        text = b"\x7f"
    return text.decode() if text.isascii() and b"\x7f" not in text else json.dumps(value).replace("\x7f", "\\u007f")


class _Formatter(logging.Formatter):
    """Keeps every record to one line, whatever a client put into it; a traceback follows it, indented."""

    _second = (0, "")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 -- the base class's name
        """Return a record's time: each second is written out once, however many lines it has."""
        del datefmt
        second = int(record.created)
        if second != self._second[0]:
            self._second = (second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)))
        return f"{self._second[1]}.{int(record.msecs):03d}Z"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- the base class's name
        """Return the record's line: its message, its fields, and which request it is about."""
        line = super().formatMessage(record)
        fields: dict[str, object] | None = getattr(record, "fields", None)
        if fields:
            line = " ".join((line, *(f"{name}={_quoted(value)}" for name, value in fields.items())))
        request_id, trace_id = REQUEST_ID.get(), current_trace_id()
        # An empty one is in every line, so that nothing is added.
        if request_id not in line:
            line = f"{line} request_id={request_id}"
        return escaped(line if trace_id in line else f"{line} trace_id={trace_id}")

    def formatException(self, ei: Any) -> str:  # noqa: N802 -- the base class's name
        """Return the lines of a traceback, none of which looks like the beginning of a record."""
        return "\n".join("  " + escaped(line) for line in super().formatException(ei).splitlines())


class _JsonFormatter(_Formatter):
    """Makes every record one JSON object: time, level, logger, message, request_id, its fields, its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line."""
        message = record.getMessage()
        line: dict[str, object] = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": message,
        }
        named = _NAMED.search(message)
        if request_id := named[1] if named else REQUEST_ID.get():
            line["request_id"] = request_id
        if trace_id := current_trace_id():
            line["trace_id"] = trace_id
        line |= getattr(record, "fields", None) or {}
        if record.exc_info:
            line["exception"] = logging.Formatter.formatException(self, record.exc_info)
        return _json(line)


def formatter_of(form: str) -> logging.Formatter:
    """Return what writes a record in a form, `text` or `json`."""
    formatter = _JsonFormatter if form == "json" else _Formatter
    return formatter("%(asctime)s %(levelname)s %(name)s %(message)s")


def configure_logging(level: str, form: str = "text") -> None:
    """Send every log line of this process to standard error.

    Args:
        level: DEBUG, INFO, WARNING or ERROR.
        form: `text`, or `json` for an object a line.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter_of(form))
    # What no line of ours shows need not be found out for each.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("arq", "httpx", "hypercorn", "quart", "asyncio", "aiohttp"):
        # arq's INFO lines show jobs, and with them prompts.
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
