"""The output of a child: all of it to a file, what matters to the terminal."""

from __future__ import annotations

import os
import re
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from asyncio import StreamReader
    from pathlib import Path

    from cli.up.terminal import Terminal

MAX_BYTES: Final = 10 * 1024 * 1024
_MAX_LINE_BYTES: Final = 64 * 1024
_TAIL_LINES: Final = 20
_OURS: Final = re.compile(
    r'(?:\{"time": ?")?\d{4}-\d\d-\d\dT[\d:.]+Z(?: +|", ?"level": ?")(DEBUG|INFO|WARNING|ERROR|CRITICAL)\b'
)
"""The head of a line of our own, in either form of `CLAW_LOG_FORMAT`."""
_TRACEBACK: Final = "Traceback (most recent call last):"


class ChildLog:
    """The output of one child: `folder/name.log`, the older half in `name.log.1`.

    Args:
        folder: must exist.
        name: of the child.
        terminal: shows lines of WARNING and above, and with `verbose` all; none for silence.
        warns: whether lines have our own format, so that their level is known.
    """

    def __init__(self, folder: Path, name: str, terminal: Terminal | None, *, warns: bool = True) -> None:
        self.path = folder / f"{name}.log"
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._name = name
        self._terminal = terminal
        self._warns = warns
        self._matters = False

    async def copy_from(self, stream: StreamReader) -> None:
        """Copy everything that `stream` brings, line by line, until it ends."""
        waiting = b""
        while chunk := await stream.read(_MAX_LINE_BYTES):
            *lines, waiting = (waiting + chunk).split(b"\n")
            # A line without an end must not grow in memory for ever.
            if len(waiting) > _MAX_LINE_BYTES:
                lines, waiting = [*lines, waiting], b""
            self._take(lines)
        if waiting:
            self._take([waiting])

    def note(self, text: str) -> None:
        """Write a line of the supervisor's own into the file; the output that follows it is a new process's."""
        self._matters = False
        self._append(f"--- {text}\n".encode())

    def _take(self, lines: list[bytes]) -> None:
        if not lines:
            return
        self._append(b"\n".join(lines) + b"\n")
        for line in lines:
            text = line.decode(errors="replace").rstrip()
            self.tail.append(text)
            if self._terminal is not None and (self._is_shown(text) or self._terminal.verbose):
                self._terminal.child_line(self._name, text)

    def _is_shown(self, text: str) -> bool:
        """Return whether a line is shown: one without our head belongs to the one before it, as a traceback's do."""
        if not self._warns:
            return False
        head = _OURS.match(text)
        if head is not None:
            self._matters = head[1] not in {"DEBUG", "INFO"}
        elif text.startswith(_TRACEBACK):
            self._matters = True
        return self._matters

    def _append(self, content: bytes) -> None:
        try:
            # Opened for each write: the file may be rotated, or removed by hand, at any time.
            descriptor = os.open(self.path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, content)
                size = os.fstat(descriptor).st_size
            finally:
                os.close(descriptor)
            if size > MAX_BYTES:
                self.path.replace(self.path.with_name(f"{self.path.name}.1"))
        except OSError:
            # A full disk must not end the copying: the child would block on its pipe.
            return
