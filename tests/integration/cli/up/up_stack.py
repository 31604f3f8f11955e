"""`nself claw up` in a process of its own, for tests: started, watched, stopped."""

import asyncio
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from cli.up.child import launch_command
from cli.up.embedded.postgres_home import SYSTEM_DIR
from cli.up.ports import free_port
from shared.settings import PROJECT_ROOT
from tests.fleet import PATIENCE_S

DEADLINE_S = 150.0
_SCRIPTS = Path(__file__).with_name("up_scripts")


class Up:
    """One `nself claw up` in a folder of its own, and what it shows."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"
        self.shown = ""
        self.model_timeout_s = 20.0
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(PROJECT_ROOT),
            "CLAW_DATA_DIR": str(folder / "data"),
            "CLAW_PORT": str(port),
            "CLAW_LOCAL_OPENAI_URL": "http://127.0.0.1:9/v1",  # no embedded model: these tests need none
        }
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """Of the supervisor."""
        assert self._process is not None
        return self._process.pid

    async def run(self, command: str = "up", *arguments: str, **environment: str) -> "Up":
        """Start a command with the Procfile in the folder."""
        program = (
            f"from cli.up import stack; stack._CONFIGURED_MODEL_TIMEOUT_S = {self.model_timeout_s}; "
            f"from cli.up.command import {command}; {command}()"
        )
        procfile = ("--procfile", str(self.folder / "Procfile")) if command == "up" else ()
        self._process = await asyncio.create_subprocess_exec(
            # A run of tests that is killed takes it along.
            *launch_command((sys.executable, "-c", program, *arguments, *procfile), signal.SIGTERM, None),
            env=self.environment | environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        self._reading = asyncio.create_task(self._read(self._process))
        return self

    async def started(self) -> "Up":
        """Run `up` and wait until it says that it is done."""
        await self.run()
        await self.shows("Ctrl-C stops everything")
        return self

    async def shows(self, text: str) -> None:
        """Wait until `text` is shown."""
        await until(lambda: text in self.shown or self._has_ended(), f"{text!r} in {self.shown}")
        assert text in self.shown, self.shown

    async def exit_code(self) -> int:
        """Wait for the end."""
        assert self._process is not None
        assert self._reading is not None
        async with asyncio.timeout(DEADLINE_S):
            await self._reading
            return await self._process.wait()

    async def stop(self, *signals: signal.Signals) -> int:
        """Send each signal, and wait for the end."""
        for number in signals:
            os.kill(self.pid, number)
        return await self.exit_code()

    async def web_pid(self) -> int:
        """Of the process that answers now; 0 if none does."""
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client:
                return int((await client.get(self.url)).json()["pid"])
        except httpx.HTTPError:
            return 0

    async def clean_up(self) -> None:
        """End it however it is, and remove what root's PostgreSQL keeps outside the folder."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self.exit_code()
        remove_postgres_homes(self.folder / "data")

    def _has_ended(self) -> bool:
        return self._reading is None or self._reading.done()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while chunk := await process.stdout.read(4096):
            self.shown += chunk.decode()


@asynccontextmanager
async def up_in(folder: Path) -> AsyncIterator[Up]:
    """A folder with a Procfile and its scripts; nothing runs yet, and at the end nothing does any more."""
    for script in _SCRIPTS.iterdir():
        shutil.copy(script, folder)
    stack = Up(folder, free_port())
    try:
        yield stack
    finally:
        await stack.clean_up()


async def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        await asyncio.sleep(0.02)


def remove_postgres_homes(data_dir: Path) -> None:
    """Remove what root's PostgreSQL keeps outside the data dir: its log names it."""
    log = data_dir / "log" / "postgres.log"
    for home in set(re.findall(rf"{SYSTEM_DIR}/[0-9a-f]{{16}}", log.read_text() if log.exists() else "")):
        shutil.rmtree(home, ignore_errors=True)


def descendants(pid: int) -> set[int]:
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def command_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def running(pids: set[int]) -> set[int]:
    alive = set()
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            alive.add(pid)
    return alive


async def printed_environment(up: Up) -> dict[str, str]:
    """What `nself claw env` prints about it."""
    other = await Up(up.folder, int(up.environment["CLAW_PORT"])).run("env")
    assert await other.exit_code() == 0, other.shown
    return dict(re.findall(r"^export (\w+)='?([^'\n]*)'?$", other.shown, re.MULTILINE))
