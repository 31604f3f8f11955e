"""The Procfile: which processes make up the gateway."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

_LINE = re.compile(r"([A-Za-z0-9_-]+)\s*:\s*(\S.*)")


class ProcfileError(Exception):
    """The Procfile cannot be read; the text names file and line."""


def read_procfile(path: Path) -> dict[str, tuple[str, ...]]:
    """Return the command of each process, by name, in the file's order. `python` is the running interpreter.

    Raises:
        ProcfileError: the file is missing, empty, or has a line that is no `name: command`.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ProcfileError(f"{path}: {error.strerror}") from None
    commands: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, command = _parsed(text, f"{path}, line {number}")
        if name in commands:
            raise ProcfileError(f"{path}, line {number}: {name} is there twice")
        commands[name] = command
    if not commands:
        raise ProcfileError(f"{path}: names no process")
    return commands


def _parsed(text: str, place: str) -> tuple[str, tuple[str, ...]]:
    match = _LINE.fullmatch(text)
    if match is None:
        raise ProcfileError(f"{place}: expected `name: command`")
    try:
        program, *arguments = shlex.split(match[2])
    except ValueError as error:
        raise ProcfileError(f"{place}: {error}") from None
    # The one of this environment, whatever PATH says.
    if program in {"python", "python3"}:
        program = sys.executable
    return match[1], (program, *arguments)
