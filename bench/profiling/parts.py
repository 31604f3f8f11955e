"""Sort samples of a process by the part of the program that they were taken in. Pure.

Two kinds of samples: perf's know the library, the interpreter among them, and count CPU time; py-spy's know the Python
function, and count time in which a process was ready to run. So of py-spy's only the proportions among functions are
taken, to divide what perf finds in the interpreter.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

OURS: Final = ("api", "workers", "shared")
INTERPRETER: Final = "the interpreter"
KERNEL: Final = "kernel"
REST: Final = "rest"
_LIBRARIES: Final = {
    "quart": "Quart, Werkzeug",
    "werkzeug": "Quart, Werkzeug",
    "flask": "Quart, Werkzeug",
    "hypercorn": "Hypercorn",
    "redis": "redis-py, arq",
    "arq": "redis-py, arq",
    "httpx": "httpx, aiohttp",
    "aiohttp": "httpx, aiohttp",
    "asyncio": "asyncio",
}
_IN_C: Final = {"/uvloop/": "uvloop", "/msgspec/": "msgspec", "/hiredis": "hiredis", "/_asyncio.": "asyncio"}
CALLS_OUT: Final = {
    "Http1Connection.write",
    "PipelinedConnection._write",
    "Connection._receive",
    "DirectClient.send",
    "StreamWriter.write",
    "StreamWriter.writelines",
}
"""Functions whose own time is that of a socket: uvloop's and the kernel's."""
_FRAME: Final = re.compile(r"(?P<name>.*) \((?P<file>[^()]*)\)")
_RUNNER: Final = "asyncio/runners.py"


def divided(libraries: Mapping[str, float], functions: Mapping[str, float]) -> dict[str, float]:
    """Return the share of each part, the largest first: what is the interpreter's is divided as its functions are."""
    found = {part: share for part, share in libraries.items() if part != INTERPRETER}
    for part, share in functions.items():
        found[part] = found.get(part, 0.0) + share * libraries.get(INTERPRETER, 0.0)
    return dict(sorted(found.items(), key=lambda one: -one[1]))


def by_library(lines: Iterable[str]) -> dict[str, float]:
    """Return the share of each library; each line ends with the path of one, in brackets."""
    return _shares(Counter(_library(line) for line in lines if line.endswith(")")))


def by_function(lines: Iterable[str]) -> dict[str, float]:
    """Return the share of each part among Python's functions; `lines` are `frame;frame;... count`."""
    counts: Counter[str] = Counter()
    for line in lines:
        stack, _, count = line.rpartition(" ")
        if (part := part_of(stack.split(";"))) is not None:
            counts[part] += int(count)
    return _shares(counts)


def part_of(stack: Sequence[str]) -> str | None:
    """Return the part that a sample belongs to; None for one that was taken in a call of a socket or in the loop.

    Args:
        stack: its frames, the innermost last, each `function (file:line)` with the file as it is imported.
    """
    for depth, frame in enumerate(reversed(stack)):
        if (found := _FRAME.fullmatch(frame)) is None:
            continue
        name, file = found["name"], found["file"].rpartition(":")[0] or found["file"]
        if (depth == 0 and name in CALLS_OUT) or file == _RUNNER:
            return None
        # What Python's own library does is done for who called it.
        if (part := _part_of_file(file)) is not None:
            return part
    return REST


def _library(line: str) -> str:
    path = line.rpartition("(")[2]
    if path.startswith("[kernel"):
        return KERNEL
    return next((part for mark, part in _IN_C.items() if mark in path), INTERPRETER)


def _shares(counts: Counter[str]) -> dict[str, float]:
    return {part: count / counts.total() for part, count in counts.most_common()}


def _part_of_file(file: str) -> str | None:
    folder, _, rest = file.partition("/")
    if folder in OURS:
        package = rest.rpartition("/")[0].partition("/")[0]
        return f"{folder}/{package}" if package else folder
    return _LIBRARIES.get(folder)
