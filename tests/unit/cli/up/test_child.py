"""Children that die, hang, or leave something behind."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.up.child import Child, Program, describe_exit, launch_command
from cli.up.child_log import ChildLog

_DEADLINE_S = 60.0


def _child(folder: Path, code: str, on_exit: Callable[[Child], None] | None = None, **options: float) -> Child:
    program = Program(
        name="script",
        command=(sys.executable, "-u", "-c", code),
        directory=folder,
        environment={"PATH": os.defpath},
        **options,  # type: ignore[arg-type]  # of several types
    )
    return Child(program, ChildLog(folder, "script", None), on_exit)


async def _until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + _DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        await asyncio.sleep(0.01)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_a_child_that_dies_is_started_again_and_its_exit_reported(tmp_path: Path) -> None:
    """With a pause that doubles, so three starts take at least 0.2 and 0.4 s."""
    exits: list[str] = []
    child = _child(tmp_path, "import sys; print('up'); sys.exit(3)", lambda dead: exits.append(dead.ending))
    started = time.monotonic()
    child.start()
    try:
        await _until(lambda: len(exits) >= 3, "three exits")
    finally:
        await child.stop()

    assert exits[:3] == ["ended with exit code 3"] * 3
    assert time.monotonic() - started >= 0.6


async def test_a_child_that_ends_at_its_signal_is_not_killed(tmp_path: Path) -> None:
    """Nor reported as having died."""
    code = "import signal,sys; signal.signal(15, lambda *_: (print('bye'), sys.exit(0))); print('up'); signal.pause()"
    died: list[Child] = []
    child = _child(tmp_path, code, died.append)
    child.start()
    await _until(lambda: "up" in child.log.tail, "up")
    await child.stop()

    assert child.last_exit == 0
    assert child.log.tail[-1] == "bye"
    assert died == []


async def test_a_child_that_hangs_is_killed_after_its_time(tmp_path: Path) -> None:
    """A stop always ends."""
    child = _child(
        tmp_path, "import signal; signal.signal(15, signal.SIG_IGN); print('up'); signal.pause()", stop_timeout_s=0.3
    )
    child.start()
    await _until(lambda: "up" in child.log.tail, "up")
    await child.stop()

    assert child.last_exit == -signal.SIGKILL


async def test_hurry_cuts_the_wait_short(tmp_path: Path) -> None:
    """A second Ctrl-C does not wait for the minute that was granted."""
    child = _child(
        tmp_path, "import signal; signal.signal(15, signal.SIG_IGN); print('up'); signal.pause()", stop_timeout_s=60
    )
    child.start()
    await _until(lambda: "up" in child.log.tail, "up")
    hurry = asyncio.Event()
    stopping = asyncio.create_task(child.stop(hurry))
    hurry.set()
    async with asyncio.timeout(_DEADLINE_S):
        await stopping

    assert child.last_exit == -signal.SIGKILL


async def test_what_a_dead_child_leaves_behind_is_killed(tmp_path: Path) -> None:
    """A grandchild could hold the port for which the child is started again."""
    code = (
        "import subprocess, sys; p = subprocess.Popen(['sleep', '1000']); "
        "open('grandchild', 'w').write(str(p.pid)); sys.exit(1)"
    )
    child = _child(tmp_path, code)
    child.start()
    try:
        await _until(lambda: child.exits, "an exit")
        pid = int((tmp_path / "grandchild").read_text())
        await _until(lambda: not _is_alive(pid), "the end of the grandchild")
    finally:
        await child.stop()


async def test_a_program_that_is_not_there_reports_it(tmp_path: Path) -> None:
    """In its log, where the supervisor shows it from."""
    program = Program(name="script", command=("/no/such/program",), directory=tmp_path, environment={})
    child = Child(program, ChildLog(tmp_path, "script", None))
    child.start()
    try:
        await _until(lambda: child.exits, "an exit")
    finally:
        await child.stop()

    assert "cannot start /no/such/program" in child.log.tail[0]


async def test_a_child_is_never_run_when_its_parent_is_gone_already(tmp_path: Path) -> None:
    """Between fork and the request to die with the parent there is a moment in which the parent can die."""
    command = launch_command(["touch", str(tmp_path / "ran")], signal.SIGKILL, None)
    command[command.index(str(os.getpid()))] = "1"
    process = await asyncio.create_subprocess_exec(*command)

    assert await process.wait() != 0
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (None, "has not ended"),
        (0, "ended with exit code 0"),
        (-9, "was ended by SIGKILL"),
        (-63, "was ended by signal 63"),
    ],
)
def test_exits_are_described_in_words(code: int | None, words: str) -> None:
    """As a user reads them."""
    assert describe_exit(code) == words
