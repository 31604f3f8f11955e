"""A child process that is started again when it dies."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from cli.up.child_log import ChildLog

_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 10.0
_STEADY_S: Final = 30.0
_LAST_OUTPUT_S: Final = 1.0
_CANNOT_START: Final = 126  # as shells say it (POSIX)
_LAUNCH: Final = Path(__file__).with_name("launch.py")


@dataclass(frozen=True, kw_only=True)
class Program:
    """A command to run, and how to end it.

    `death_signal` is what it gets when the supervisor itself dies. `prepare` runs before every start.
    `descriptors` stay open in it.
    """

    name: str
    command: tuple[str, ...]
    directory: Path
    environment: Mapping[str, str]
    user: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout_s: float = 10.0
    death_signal: signal.Signals = signal.SIGKILL
    prepare: Callable[[], Awaitable[None]] | None = None
    descriptors: tuple[int, ...] = ()


class Process(Protocol):
    """A running program, as asyncio's are."""

    @property
    def pid(self) -> int:
        """Return its process id, which is that of its session too."""

    async def wait(self) -> int:
        """Return its exit code once it has ended, negative where a signal ended it."""

    def send_signal(self, signal: int, /) -> None:
        """Send it a signal.

        Raises:
            ProcessLookupError: it has ended.
        """


class Child:
    """Keeps one program running until it is stopped.

    Args:
        program: what to run.
        log: takes its output.
        on_exit: called at every exit that nobody asked for, before the pause; gets this child.
        start_process: instead of `spawn`.
    """

    def __init__(
        self,
        program: Program,
        log: ChildLog,
        on_exit: Callable[[Child], None] | None = None,
        start_process: Callable[[Program, int], Awaitable[Process]] | None = None,
    ) -> None:
        self._start_process = start_process or spawn
        self.program = program
        self.log = log
        self.exits = 0
        self.last_exit: int | None = None
        self._on_exit = on_exit
        self._process: Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """Return that of the running process; none between two."""
        return self._process.pid if self._process is not None else None

    @property
    def ending(self) -> str:
        """Describe how it last ended."""
        return describe_exit(self.last_exit)

    def start(self) -> None:
        """Start it and keep it running."""
        self._task = asyncio.create_task(self._keep_running(), name=f"child {self.program.name}")

    async def stop(self, hurry: asyncio.Event | None = None) -> None:
        """Stop it: its stop signal, then SIGKILL after its time or as soon as `hurry` is set."""
        # Before the signal: a child that dies of it must not be started again.
        self._stopping.set()
        if self._task is None:
            return
        self._signal(self.program.stop_signal)
        waits: set[asyncio.Task[None] | asyncio.Task[bool]] = {self._task}
        hurried = asyncio.create_task(hurry.wait()) if hurry is not None else None
        if hurried is not None:
            waits.add(hurried)
        await asyncio.wait(waits, timeout=self.program.stop_timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if hurried is not None:
            hurried.cancel()
        if not self._task.done():
            self.log.note("did not stop in time: killed")
            self._kill_session()
        await self._task

    async def _keep_running(self) -> None:
        pause_s = _FIRST_PAUSE_S
        clock = asyncio.get_running_loop().time
        while not self._stopping.is_set():
            started = clock()
            try:
                self.last_exit = await self._run_once()
            except OSError as error:  # no memory, no process numbers: may pass
                self.log.note(f"cannot start {self.program.name}: {error}")
                self.last_exit = _CANNOT_START
            self.log.note(f"{self.program.name} {self.ending}")
            if self._stopping.is_set():
                return
            self.exits += 1
            # It ran well for a while: another crash is a new one, and may be answered at once.
            if clock() - started >= _STEADY_S:
                pause_s = _FIRST_PAUSE_S
            if self._on_exit is not None:
                self._on_exit(self)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def _run_once(self) -> int:
        if self.program.prepare is not None:
            await self.program.prepare()
        readable, writable = os.pipe()
        try:
            self._process = await self._start_process(self.program, writable)
        except BaseException:
            os.close(readable)
            raise
        finally:
            # Our copy: as long as it is open, the reader sees no end.
            os.close(writable)
        # The stop came while it was being started, and found no process to send its signal to.
        if self._stopping.is_set():
            self._signal(self.program.stop_signal)
        return await self._exit_of(self._process, readable)

    async def _exit_of(self, process: Process, readable: int) -> int:
        stream, transport = await pipe_reader(readable)
        copying = asyncio.create_task(self.log.copy_from(stream))
        try:
            code = await process.wait()
        finally:
            self._kill_session()
            self._process = None
            # A grandchild outside the session may hold the pipe open for ever.
            await asyncio.wait({copying}, timeout=_LAST_OUTPUT_S)
            copying.cancel()
            transport.close()
        return code

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    def _kill_session(self) -> None:
        """Send SIGKILL to the child and to what it left behind: that could still hold its port."""
        if self._process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)


async def spawn(program: Program, output: int) -> asyncio.subprocess.Process:
    """Start `program` in a session of its own, dying with this process; stdout and stderr go to `output`."""
    return await asyncio.create_subprocess_exec(
        *launch_command(program.command, program.death_signal, program.user),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        cwd=program.directory,
        env=dict(program.environment),
        pass_fds=program.descriptors,
        # Ctrl-C goes to the terminal's whole group: in sessions of their own children get only our ordered stop.
        start_new_session=True,
    )


def launch_command(command: Sequence[str], death_signal: signal.Signals, user: str | None) -> list[str]:
    """Return the command line that runs `command` so that it gets `death_signal` when this process dies."""
    # Isolated and without site-packages: quick, and nothing of the folder that it runs in can be imported.
    launch = [sys.executable, "-I", "-S", str(_LAUNCH)]
    return [*launch, str(int(death_signal)), str(os.getpid()), user or "-", *command]


def describe_exit(code: int | None) -> str:
    """Describe an exit code, or minus a signal's number, in words."""
    if code is None:
        return "has not ended"
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


async def pipe_reader(readable: int) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    """Return a reader of a pipe, and what closes it."""
    loop = asyncio.get_running_loop()
    stream = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(readable, "rb", buffering=0)
    )
    return stream, transport
