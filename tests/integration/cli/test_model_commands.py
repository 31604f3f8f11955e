"""`nself claw models` against real api and worker processes, and a scripted Ollama."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.fleet import INTERNAL_SECRET, Fleet, Process
from tests.integration.local_models import overview
from tests.ollama_fixtures import MODEL, SIZE, reachable
from tests.upstreams.ollama.server import LICENSE_BYTES, OllamaServer

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from tests.conftest import Eventually


async def nself(
    api: Process, tmp_path: Path, *arguments: str, terminal: int | None = None
) -> asyncio.subprocess.Process:
    """Start `nself claw models ...`; NSELF_AI_URL wins over NSELF_CLAW_URL."""
    environment = {
        "PATH": os.environ["PATH"],
        "CLAW_DATA_DIR": str(tmp_path),
        "NSELF_CLAW_URL": "http://127.0.0.1:1",
        "NSELF_AI_URL": api.url,
        "PLUGIN_INTERNAL_SECRET": INTERNAL_SECRET,
        "TERM": "xterm",
        "COLUMNS": "150",
    }
    output = asyncio.subprocess.PIPE if terminal is None else terminal
    # Where the tests run in the background of a shell, SIGINT is ignored, and children inherit that.
    interruptible = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    program = f"{interruptible}; from cli.main import main; main()"
    return await asyncio.create_subprocess_exec(
        sys.executable, "-u", "-c", program, "claw", "models", *arguments,
        env=environment, stdout=output, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def ran(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    """Return a command's exit code, output and errors."""
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, output.decode(), errors.decode()


@pytest.mark.usefixtures("ollama_worker")
async def test_the_command_installs_with_progress_lists_and_removes(
    ollama_api: Process, ollama: OllamaServer, tmp_path: Path
) -> None:
    """Plain lines where there is no terminal."""
    ollama.is_held = True
    command = await nself(ollama_api, tmp_path, "install", MODEL)
    assert command.stdout is not None
    lines: list[str] = []
    async with asyncio.timeout(60):
        while not any("50 %" in line for line in lines):
            lines.append((await command.stdout.readline()).decode())
            assert lines[-1], (await ran(command))[2]
    assert lines[0].startswith(f"Installing {MODEL} on ")
    assert f"{MODEL}: pulling aaaaaaaaaaaa, 50 % of 500.0 MB\n" in lines
    code, output, _ = await ran(await nself(ollama_api, tmp_path, "status"))
    assert (code, f"{MODEL}  pulling 50 %" in output) == (0, True)
    ollama.go_on.set()
    code, output, errors = await ran(command)
    assert (code, output.splitlines()[-1], errors) == (0, f"{MODEL} is installed (500.0 MB).", "")
    code, output, _ = await ran(await nself(ollama_api, tmp_path, "list"))
    rows = {line.split()[0]: line.split()[1:] for line in output.splitlines()}
    assert rows["Model"] == ["Status", "Size", "Memory", "Host"]
    assert rows[MODEL][:3] == ["installed", "500.0", "MB"]
    assert rows["gpt-oss:20b"][1:] == ["14.0", "GB", "18.0", "GB", "-"]
    _, output, _ = await ran(await nself(ollama_api, tmp_path, "list", "--json"))
    assert json.loads(output)["models"][0]["size_bytes"] == SIZE + LICENSE_BYTES
    for _ in range(2):
        code, output, _ = await ran(await nself(ollama_api, tmp_path, "remove", MODEL))
        assert (code, output.startswith(f"{MODEL} is removed from ")) == (0, True)


@pytest.mark.usefixtures("ollama_worker")
async def test_several_watch_one_pull_and_ctrl_c_leaves_it_running(
    ollama_api: Process, ollama: OllamaServer, tmp_path: Path
) -> None:
    """The one that is stopped says so; the other sees the end."""
    ollama.is_held = True
    watching = [await nself(ollama_api, tmp_path, "install", MODEL) for _ in range(2)]
    for command in watching:
        assert command.stdout is not None
        async with asyncio.timeout(60):
            while b"50 %" not in (line := await command.stdout.readline()):
                # At the end nothing is waited for any more: without this the loop would never be left.
                assert line, (await ran(command))[2]
    watching[0].send_signal(signal.SIGINT)
    code, _, errors = await ran(watching[0])
    assert (code, "is still being installed" in errors) == (130, True)
    assert ollama.pulling == 1
    ollama.go_on.set()
    code, output, _ = await ran(watching[1])
    assert (code, "is installed" in output) == (0, True)
    assert ollama.pulled == [MODEL]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("install", "nosuch:1b"), 1, "file does not exist (Ollama's library has no such model)\n"),
        (("install", "no such"), 2, "400: This is not a model's name"),
        (("install",), 2, "Give either a model or --auto."),
        (("install", MODEL, "--auto"), 2, "Give either a model or --auto."),
        (("install", MODEL, "--host", "nowhere:1"), 1, "404: There is no such host"),
        (("remove", "nosuch:1b"), 1, "404: There is no model nosuch:1b"),
    ],
)
@pytest.mark.usefixtures("ollama_worker")
async def test_a_command_that_fails_says_why(
    ollama_api: Process, tmp_path: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    """On stderr, with its exit code."""
    ended, _, errors = await ran(await nself(ollama_api, tmp_path, *arguments))
    assert (ended, says in errors) == (code, True), errors


@pytest.mark.usefixtures("ollama_worker")
async def test_a_model_is_recommended_while_ollama_answers(ollama_api: Process, tmp_path: Path) -> None:
    """In the last line of `status`."""
    _, output, _ = await ran(await nself(ollama_api, tmp_path, "status"))
    assert output.splitlines()[-1].startswith("Recommended for the free memory: ")


async def test_nothing_is_recommended_while_ollama_does_not_answer(
    ollama_api: Process, ollama_client: httpx.AsyncClient, ollama_fleet: Fleet, tmp_path: Path, eventually: Eventually
) -> None:
    """There is nobody to install it; which is said."""
    await ollama_fleet.worker(PLUGIN_OLLAMA_URL="http://127.0.0.1:1")

    async def is_known() -> bool:
        return bool((await overview(ollama_client))["hosts"])

    await eventually(is_known)
    assert not await reachable(ollama_client)
    code, output, _ = await ran(await nself(ollama_api, tmp_path, "status"))
    assert (code, [line.partition(": ")[2] for line in output.splitlines()]) == (
        0, ["Ollama does not answer", "nothing can be installed now."]
    )  # fmt: skip


@pytest.mark.usefixtures("ollama_worker")
async def test_without_waiting_the_command_returns_at_once(
    ollama_api: Process, ollama: OllamaServer, tmp_path: Path
) -> None:
    """The pull goes on."""
    ollama.is_held = True
    code, output, _ = await ran(await nself(ollama_api, tmp_path, "install", MODEL, "--no-wait"))
    assert (code, "nself claw models status" in output) == (0, True)
    await ollama.until(lambda: ollama.pulling == 1)


@pytest.mark.usefixtures("ollama_worker")
async def test_on_a_terminal_there_is_a_bar(ollama_api: Process, ollama: OllamaServer, tmp_path: Path) -> None:
    """With bytes and percent, drawn again and again on one line."""
    ollama.is_held = True
    ours, theirs = pty.openpty()
    command = await nself(ollama_api, tmp_path, "install", MODEL, terminal=theirs)
    os.close(theirs)
    drawn = b""
    async with asyncio.timeout(60):
        while b"250.0/500.0 MB" not in drawn:
            drawn += await asyncio.to_thread(os.read, ours, 4096)
    assert b"50%" in drawn
    assert b"\x1b[2K" in drawn
    ollama.go_on.set()
    async with asyncio.timeout(60):
        while b"is installed" not in drawn:
            drawn += await asyncio.to_thread(os.read, ours, 4096)
    assert await command.wait() == 0
    os.close(ours)
