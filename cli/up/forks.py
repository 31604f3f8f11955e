"""The fork server as `up` sees it: a child that starts others."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Final

import msgspec

from cli.up.child import Child, Program, pipe_reader, spawn
from cli.up.fork_server import MODULES, Order

if TYPE_CHECKING:
    from pathlib import Path

    from cli.up.child import Process
    from cli.up.child_log import ChildLog

# What a Python process needs before it runs anything of ours. It must hold no credential: /proc shows the environment
# that a process was started with, and a fork shows the fork server's.
_PLAIN_VARIABLES: Final = ("PATH", "HOME", "TMPDIR", "TZ", "LANG", "LANGUAGE", "LD_LIBRARY_PATH")
_PLAIN_PREFIXES: Final = ("LC_", "PYTHON")


class ForkServer:
    """Starts the gateway's own processes as forks of one; whatever else a Procfile names as processes of their own.

    Args:
        directory: where it imports from: the Procfile's.
        log: takes what it says itself.
    """

    def __init__(self, directory: Path, log: ChildLog) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # Kept open here: when it dies, the next one goes on with the same socket.
        self._theirs = theirs
        program = Program(
            name="fork-server",
            command=(sys.executable, "-m", "cli.up.fork_server", str(theirs.fileno())),
            directory=directory,
            environment={
                name: value
                for name, value in os.environ.items()
                if name in _PLAIN_VARIABLES or name.startswith(_PLAIN_PREFIXES)
            }
            # Read at its start only: forks could not set it any more.
            | {"PYTHONUNBUFFERED": "1"},
            descriptors=(theirs.fileno(),),
        )
        self._child = Child(program, log)

    @property
    def pid(self) -> int | None:
        """Return that of the running server; none between two."""
        return self._child.pid

    def start(self) -> None:
        """Start it and keep it running. It imports while this process goes on."""
        self._child.start()

    async def stop(self) -> None:
        """Stop it, and with it what it has started and is still there."""
        await self._child.stop()
        self._ours.close()
        self._theirs.close()

    async def spawn(self, program: Program, output: int) -> Process:
        """Start `program` as `cli.up.child.spawn` does.

        Raises:
            OSError: it could not be started.
        """
        if not _is_ours(program):
            return await spawn(program, output)
        module, *arguments = program.command[2:]
        order = Order(
            module=module,
            arguments=tuple(arguments),
            directory=str(program.directory),
            environment=dict(program.environment),
            death_signal=int(program.death_signal),
        )
        readable, writable = os.pipe()
        try:
            # In memory and without a name: the environment has credentials.
            with os.fdopen(os.memfd_create("order"), "w+b") as file:
                file.write(msgspec.json.encode(order))
                file.seek(0)
                # With one byte: a message without any reads like the end of the socket.
                socket.send_fds(self._ours, [b"."], [file.fileno(), output, writable])
        except BaseException:
            os.close(readable)
            raise
        finally:
            os.close(writable)
        status, transport = await pipe_reader(readable)
        try:
            line = await status.readline()
            if not line:
                raise ChildProcessError("the fork server ended")
        except BaseException:
            transport.close()
            raise
        return _Fork(int(line), status, transport)


class _Fork:
    """A process that the fork server has started."""

    def __init__(self, pid: int, status: asyncio.StreamReader, transport: asyncio.ReadTransport) -> None:
        self.pid = pid
        self._status = status
        self._transport = transport
        self._exit: int | None = None

    async def wait(self) -> int:
        """Return its exit code once it has ended, negative where a signal ended it."""
        if self._exit is None:
            line = await self._status.readline()
            # With the fork server it gets its death signal, and nobody reports that.
            self._exit = int(line) if line else -signal.SIGKILL
            self._transport.close()
        return self._exit

    def send_signal(self, number: int) -> None:
        """Send it a signal.

        Raises:
            ProcessLookupError: it has ended.
        """
        if self._exit is None:
            os.kill(self.pid, number)


def _is_ours(program: Program) -> bool:
    # Linux: other systems' own libraries do not all survive a fork, and have no memfd_create.
    return (
        sys.platform == "linux"
        and program.user is None
        and program.command[:2] == (sys.executable, "-m")
        and program.command[2] in MODULES
    )
