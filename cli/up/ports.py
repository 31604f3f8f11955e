"""TCP ports: which is free, and which was used last time."""

from __future__ import annotations

import asyncio
import errno
import itertools
import random
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

LOOPBACK: Final = "127.0.0.1"
_POLL_S: Final = 0.05
_FIXED: Final = range(20_000, 32_000)
"""Below what Linux, macOS and IANA give to outgoing connections."""
_TRIES: Final = 100
_places: Final = itertools.count(random.randrange(len(_FIXED)))
"""One after the other, so that one who asks twice gets two."""


def is_free(host: str, port: int) -> bool:
    """Return whether a server could listen there now.

    Raises:
        OSError: it cannot, but not because the port is taken (no such address, a privileged port).
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as listener:
        # As servers do: connections of a predecessor that still linger do not hold the port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            # Both: with SO_REUSEADDR Linux lets two bind a port of which neither listens yet.
            listener.bind(address)
            listener.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True


async def becomes_free(host: str, port: int, timeout_s: float) -> bool:
    """Return whether the port is free, or becomes so: what a killed predecessor held goes a moment after it.

    Raises:
        OSError: as `is_free`.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + timeout_s
    while not is_free(host, port):
        if clock() >= deadline:
            return False
        await asyncio.sleep(_POLL_S)
    return True


def free_port() -> int:
    """Return a port of the loopback interface that nobody uses now.

    Not one of those that the kernel gives to outgoing connections, any of which could take it before a server does.
    """
    for _ in range(_TRIES):
        port = _FIXED[next(_places) % len(_FIXED)]
        if is_free(LOOPBACK, port):
            return port
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind((LOOPBACK, 0))
        return int(listener.getsockname()[1])


async def remembered_port(file: Path, timeout_s: float = 2.0) -> int:
    """Return the loopback port noted in `file` if it is free, else another, which is then noted."""
    port = _noted(file)
    if port is not None and await becomes_free(LOOPBACK, port, timeout_s):
        return port
    return _note(file, free_port())


def _noted(file: Path) -> int | None:
    try:
        port = int(file.read_text())
    except (OSError, ValueError):
        return None
    return port if 0 < port <= 65535 else None


def _note(file: Path, port: int) -> int:
    file.write_text(f"{port}\n")
    return port
