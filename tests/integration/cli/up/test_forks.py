"""The fork server: what it starts is as if it had been started alone, and knows nothing of the others."""

import asyncio
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from cli.up.child import Child, Program
from cli.up.child_log import ChildLog
from cli.up.forks import ForkServer
from shared.settings import PROJECT_ROOT
from tests.conftest import Eventually
from tests.integration.cli.up.up_stack import command_of, descendants, running, until, up_in

_PLANTED = b"sk-planted-in-the-paid-tier"


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ForkServer]:
    """A running one, of a supervisor whose own environment has a credential."""
    monkeypatch.setenv("OPENAI_API_KEY", _PLANTED.decode())
    fork_server = ForkServer(PROJECT_ROOT, ChildLog(tmp_path, "fork-server", None))
    fork_server.start()
    yield fork_server
    await fork_server.stop()


def _child(server: ForkServer, folder: Path, name: str, *command: str, **environment: str) -> Child:
    program = Program(
        name=name,
        command=(sys.executable, *command),
        directory=PROJECT_ROOT,
        environment={"PATH": os.defpath, "CLAW_DATA_DIR": str(folder)} | environment,
    )
    return Child(program, ChildLog(folder, name, None), start_process=server.spawn)


def _is_titled(child: Child) -> bool:
    return child.pid is not None and command_of(child.pid).rstrip(b"\0 ").endswith(
        f"-m workers {child.program.name}".encode()
    )


def _read(path: str) -> bytes:
    """What a file of /proc says; nothing where its process has ended since."""
    try:
        return Path(path).read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def _memory_of(pid: int | None) -> bytes:
    """All that a process may have written: heap, stack, data."""
    content = bytearray()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for start, end in re.findall(
            r"^([0-9a-f]+)-([0-9a-f]+) rw", Path(f"/proc/{pid}/maps").read_text(), re.MULTILINE
        ):
            memory.seek(int(start, 16))
            content += memory.read(int(end, 16) - int(start, 16))
    return bytes(content)


async def _answers(url: str) -> bool:
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=1) as client:
            return (await client.get(url)).status_code == 200
    except httpx.HTTPError:
        return False


async def test_a_fork_has_output_exit_code_and_environment_of_its_own(tmp_path: Path, server: ForkServer) -> None:
    """It is `python -m` of its command to whoever looks, also in the list of processes."""
    child = _child(server, tmp_path, "recorder", "-m", "workers", "recorder", CLAW_LOG_LEVEL="loud")
    child.start()
    await until(lambda: child.exits > 0, "the end of a process with a wrong setting")
    await child.stop()

    assert child.last_exit == os.EX_CONFIG
    assert any("CLAW_LOG_LEVEL" in line for line in child.log.tail)


async def test_no_process_sees_anothers_credential(tmp_path: Path, server: ForkServer, valkey_url: str) -> None:
    """Not in the environment that /proc shows, and not in memory: neither the fork server nor what it forks later."""
    paid = _child(
        server, tmp_path, "paid", "-m", "workers", "paid", REDIS_URL=valkey_url, OPENAI_API_KEY=_PLANTED.decode()
    )
    local = _child(server, tmp_path, "local", "-m", "workers", "local", REDIS_URL=valkey_url)
    try:
        for child in (paid, local):
            child.start()
            await until(partial(_is_titled, child), f"a process that is called {child.program.name}")
        everyone = descendants(os.getpid())
        forking = server.pid

        assert {paid.pid, local.pid, forking} < everyone
        assert [pid for pid in everyone if _PLANTED in _read(f"/proc/{pid}/environ")] == []
        assert [pid for pid in (paid.pid, local.pid, forking) if _PLANTED in _memory_of(pid)] == [paid.pid]
    finally:
        await asyncio.gather(paid.stop(), local.stop())


async def test_with_the_fork_server_all_die_and_all_come_back(
    tmp_path: Path, server: ForkServer, valkey_url: str
) -> None:
    """A fork that nobody watches must not go on."""
    child = _child(server, tmp_path, "local", "-m", "workers", "local", REDIS_URL=valkey_url)
    child.start()
    try:
        await until(lambda: child.pid, "a worker")
        first = child.pid
        assert first is not None
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        await until(lambda: not running({first}), "the end of the worker")
        await until(lambda: child.pid not in {None, first}, "another worker")
        assert child.ending == "was ended by SIGKILL"
    finally:
        await child.stop()


async def test_what_is_not_ours_is_a_process_of_its_own(tmp_path: Path, server: ForkServer) -> None:
    """A Procfile may name any program."""
    child = _child(server, tmp_path, "other", "-c", "import sys; print('up'); sys.exit(3)")
    child.start()
    await until(lambda: child.exits > 0, "the end of a program")
    await child.stop()

    assert child.last_exit == 3
    assert "up" in child.log.tail


async def test_several_processes_of_a_kind_where_they_are_asked_for(tmp_path: Path, eventually: Eventually) -> None:
    """All apis listen at one address: with either of them killed the other one answers."""
    async with up_in(tmp_path) as up:
        shutil.copy(PROJECT_ROOT / "Procfile", tmp_path)
        up.model_timeout_s = 0.1
        await up.run(CLAW_API_PROCESSES="2", CLAW_LOCAL_WORKERS="2")
        await up.shows("Ctrl-C stops everything")
        titles = {pid: command_of(pid).rstrip(b"\0 ").decode() for pid in descendants(up.pid)}
        apis = [pid for pid, title in titles.items() if title.endswith("-m api")]

        assert len(apis) == 2
        assert sum(title.endswith("-m workers local") for title in titles.values()) == 2
        # There is no key for it, and no other way to get one while it runs.
        assert not any(title.endswith("-m workers paid") for title in titles.values())
        for pid in apis:
            # Stopped, not killed: it would be back at once. What the kernel gives it waits.
            os.kill(pid, signal.SIGSTOP)
            await eventually(partial(_answers, f"{up.url}/health"))
            os.kill(pid, signal.SIGCONT)
