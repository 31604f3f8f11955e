"""Starts the gateway's processes as forks of one that has imported all of it.

A Python process takes most of a second of CPU only to import what the gateway needs, and tests start hundreds: with a
start in 20 ms the suite is twice as fast. What is forked has started nothing of ours; each fork then is `python -m
MODULE`, with an environment and output of its own. `tests/integration/cli/up/` starts the real command lines.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import runpy
import signal
import sys
from typing import TYPE_CHECKING

from cli.up.launch import die_with_parent

if TYPE_CHECKING:
    from pathlib import Path

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.preloaded"])


def _run(command: list[str], environment: dict[str, str], log: Path) -> None:
    """Be `python -m` of a command, in the fork; a run of tests that is killed takes it along."""
    die_with_parent(signal.SIGKILL, os.getppid())
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = command
    sys.modules.pop(
        f"{command[0]}.__main__", None
    )  # it was only imported: now it runs, with all that it imports at hand
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)


class Forked:
    """One such process, with what asyncio's processes have."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        log.touch()
        self._process = _context.Process(target=_run, args=(command, environment, log), daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid
        self._ended = asyncio.ensure_future(self._wait())

    @property
    def returncode(self) -> int | None:
        """The exit code, negative where a signal ended it; None while it runs."""
        return self._process.exitcode

    async def wait(self) -> int:
        """Return the exit code, once there is one."""
        return await asyncio.shield(self._ended)

    def kill(self) -> None:
        """End it as a power cut would; nothing happens if it has ended."""
        self._process.kill()

    def send_signal(self, number: int) -> None:
        """Send it a signal.

        Raises:
            ProcessLookupError: if it has ended.
        """
        if self.returncode is not None:
            raise ProcessLookupError
        os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end in order."""
        self.send_signal(signal.SIGTERM)

    async def _wait(self) -> int:
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        sentinel = self._process.sentinel
        loop.add_reader(sentinel, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(sentinel)
        self._process.join()
        assert self.returncode is not None
        return self.returncode
