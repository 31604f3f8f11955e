"""`nself claw chat` as its user runs it: on a terminal, or in a pipe."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import struct
import sys
import termios
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.fleet import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NSELF: Final = Path(sys.executable).with_name("nself")
CTRL_C: Final = "\x03"
CTRL_D: Final = "\x04"
_ROWS: Final = 24
_COLUMNS: Final = 100
_ON_TERMINAL: Final = """
import fcntl, os, signal, sys, termios
# Where the tests run in the background of a shell, it is ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
_CONTROL: Final = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\))")


class Terminal:
    """A program on a terminal: what it shows, and a keyboard."""

    def __init__(self, process: asyncio.subprocess.Process, master: int) -> None:
        self._process = process
        self._master = master
        self._changed = asyncio.Event()
        self._seen = 0
        self.raw = b""

    @property
    def shown(self) -> str:
        """Return all that was shown, without colours and moves of the cursor."""
        return _CONTROL.sub("", self.raw.decode(errors="replace")).replace("\r", "")

    def received(self) -> None:
        """Take what the program writes."""
        try:
            self.raw += os.read(self._master, 65536)
        except OSError:  # its other end is closed
            asyncio.get_running_loop().remove_reader(self._master)
        self._changed.set()

    async def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._master, text.encode())

    async def interrupt(self) -> None:
        """Press Ctrl-C at the prompt, once it waits for a key.

        Python's loop around readline sees a signal only while it waits; one that comes before is seen with the line.
        """
        async with asyncio.timeout(PATIENCE_S):
            while not self._is_asleep():
                await asyncio.sleep(0.01)
        await self.type(CTRL_C)

    def _is_asleep(self) -> bool:
        return Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"

    async def until(self, text: str) -> None:
        """Wait until this is shown, after what was waited for before."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while (place := self.shown.find(text, self._seen)) < 0:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"{text!r} is not shown after {self._seen} of {self.shown!r}") from None
        self._seen = place + len(text)

    async def ask(self, question: str) -> None:
        """Type a message at the prompt, and wait for the end of the answer."""
        await self.until(">>> ")
        await self.type(question + "\r")

    async def code(self) -> int:
        """Return the exit code, once it has ended."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._process.wait()


@asynccontextmanager
async def on_terminal(environment: dict[str, str], *arguments: str) -> AsyncIterator[Terminal]:
    """Run `nself claw chat` on a terminal of its own."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _ON_TERMINAL, str(NSELF), "claw", "chat", *arguments),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**environment, "TERM": "xterm"},
    )
    os.close(slave)
    terminal = Terminal(process, master)
    loop = asyncio.get_running_loop()
    loop.add_reader(master, terminal.received)
    try:
        yield terminal
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        loop.remove_reader(master)
        os.close(master)


async def in_pipe(environment: dict[str, str], *arguments: str, given: str | None = None) -> tuple[int, str, str]:
    """Run `nself claw chat` where nobody looks at it; return its exit code and what it wrote."""
    process = await asyncio.create_subprocess_exec(
        *(str(NSELF), "claw", "chat", *arguments),
        stdin=asyncio.subprocess.DEVNULL if given is None else asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    async with asyncio.timeout(PATIENCE_S):
        out, err = await process.communicate(None if given is None else given.encode())
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()
