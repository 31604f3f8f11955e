"""The common part of the embedded servers: a supervised child that is ready once it has been spoken to."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Final

from cli.up.child import Child
from cli.up.child_log import ChildLog

if TYPE_CHECKING:
    from pathlib import Path

    from cli.up.child import Program
    from cli.up.terminal import Terminal

_POLL_S: Final = 0.05
_MAX_EXITS: Final = 5


class ServerFailed(Exception):
    """An embedded server cannot be started; the text says why."""


class EmbeddedServer(ABC):
    """One embedded server; as a context manager it yields its URL.

        async with EmbeddedValkey(data_dir) as redis_url: ...

    Args:
        data_dir: the gateway's data dir; the server keeps a folder of its own in it.
        terminal: warned when the server dies and is started again; none for silence.
    """

    name: ClassVar[str]
    ready_timeout_s: ClassVar[float] = 60.0

    def __init__(self, data_dir: Path, *, terminal: Terminal | None = None) -> None:
        self.data_dir = data_dir
        self.child: Child | None = None
        self._terminal = terminal

    async def __aenter__(self) -> str:
        try:
            return await self.start()
        except BaseException:
            # Also when the start is cancelled: nobody else knows of the child.
            await self.stop()
            raise

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> str:
        """Start it, wait until it answers, and return its URL.

        Raises:
            ServerFailed: it cannot be prepared, keeps dying, or does not answer in time.
        """
        log_dir = self.data_dir / "log"
        log_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        program = await self.program()
        self.child = Child(program, ChildLog(log_dir, self.name, self._terminal, warns=False), self._warn_of_exit)
        self.child.start()
        await self._wait_until_ready(self.child)
        return self.url()

    async def stop(self, hurry: asyncio.Event | None = None) -> None:
        """Stop it; `hurry`, once set, cuts the wait short."""
        if self.child is not None:
            await self.child.stop(hurry)

    @abstractmethod
    async def program(self) -> Program:
        """Prepare what it needs and return what to run."""

    @abstractmethod
    async def is_ready(self) -> bool:
        """Return whether it answers now; false or OSError where it does not."""

    @abstractmethod
    def url(self) -> str:
        """Return where it is reached, with credentials."""

    async def _wait_until_ready(self, child: Child) -> None:
        clock = asyncio.get_running_loop().time
        deadline = clock() + self.ready_timeout_s
        # The child is started again when it dies, so one crash (a port just taken, say) is no failure yet.
        while not await self._answers():
            if child.exits >= _MAX_EXITS:
                raise ServerFailed(self._failure(f"{self.name} {child.ending}, {child.exits} times"))
            if clock() >= deadline:
                raise ServerFailed(self._failure(f"{self.name} does not answer after {self.ready_timeout_s:.0f} s"))
            await asyncio.sleep(_POLL_S)

    async def _answers(self) -> bool:
        try:
            return await self.is_ready()
        except OSError:
            return False

    def _failure(self, what: str) -> str:
        last = "\n".join(f"  {line}" for line in list(self.child.log.tail)[-5:]) if self.child else ""
        return f"{what}. Its log: {self.data_dir / 'log' / self.name}.log\n{last}"

    def _warn_of_exit(self, child: Child) -> None:
        if self._terminal is not None:
            self._terminal.warn(f"{self.name} {child.ending}; starting it again")
