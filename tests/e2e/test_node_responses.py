"""Clients from npm over /v1/responses: OpenAI's own, Vercel's `ai` in its default mode, and Codex CLI."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.test_node import node

if TYPE_CHECKING:
    from tests.e2e.served import Served

pytestmark = [pytest.mark.npm, pytest.mark.xdist_group("scripted")]

BOUND_S = 120
_FOLDER = Path(__file__).with_name("node")
GREETING = ("Good", " day")
CODEX = """
model = "auto"
model_provider = "claw"
web_search = "disabled"
[model_providers.claw]
name = "nSelf"
base_url = "{base_url}"
env_key = "NSELF_KEY"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
"""
"""As docs/api.md has it, but for the retries."""


async def printed(process: asyncio.subprocess.Process) -> list[str]:
    """Return what a program has printed once it has ended well."""
    async with asyncio.timeout(BOUND_S):
        shown, complaints = await process.communicate()
    assert (process.returncode, complaints) == (0, b"")
    return shown.decode().splitlines()


async def test_openais_client_for_node(served: Served) -> None:
    """A text, a stream, a call with its answer, an error; one that leaves stops the model."""
    upstream, aborted = served.upstream, served.upstream.aborted
    upstream.add(served.say(*GREETING), served.say(*GREETING), served.call(), served.say("Sunny."), served.hang())
    process = await node((_FOLDER / "responses.mjs").read_text(), served.base_url, served.secret)
    assert await printed(process) == [
        "completed Good day 2",
        "response.completed Good day",
        'function_call weather {"city":"Rome"}',
        "Sunny.",
        "BadRequestError invalid_value temperature",
        "left",
    ]
    await upstream.until(lambda: upstream.aborted == aborted + 1)


async def test_vercels_ai_in_its_default_mode(served: Served) -> None:
    """The same, a tool run by the client itself, and a stream that breaks off."""
    upstream, aborted = served.upstream, served.upstream.aborted
    answers = [served.say(*GREETING), served.say(*GREETING), served.call(), served.say("Sunny.")]
    upstream.add(*answers, served.breaks(), served.hang())
    process = await node((_FOLDER / "ai_sdk.mjs").read_text(), served.base_url, served.secret)
    shown = await printed(process)
    assert shown[:4] == ["stop Good day 2", "stop Good day", "Sunny. 2", "APICallError 400 temperature"]
    assert shown[4].startswith("broken")
    assert shown[-1] == "left"
    assert served.wire.results(upstream.requests[3].body) == ["sun over Rome"]
    await upstream.until(lambda: upstream.aborted == aborted + 1)


async def codex(prompt: str, folder: Path, base_url: str, secret: str) -> asyncio.subprocess.Process:
    """Start Codex on a prompt, without its cloud."""
    settings = folder / "codex"
    settings.mkdir(exist_ok=True)
    (settings / "config.toml").write_text(CODEX.format(base_url=base_url))
    work = folder / "work"
    work.mkdir(exist_ok=True)
    return await asyncio.create_subprocess_exec(
        *(_FOLDER / "node_modules" / ".bin" / "codex", "exec", "--json", "--skip-git-repo-check"),
        *("--sandbox", "danger-full-access", prompt),
        cwd=work,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "CODEX_HOME": str(settings), "NSELF_KEY": secret},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def items_of(process: asyncio.subprocess.Process) -> list[dict[str, str]]:
    """Return what Codex reports, one object a line, once it has ended."""
    async with asyncio.timeout(BOUND_S):
        shown, _ = await process.communicate()
    return [json.loads(line) for line in shown.splitlines() if line.startswith(b"{")]


async def test_codex_runs_a_command_and_answers(served: Served, tmp_path: Path) -> None:
    """It streams always; the command's output goes back to the model."""
    command = json.dumps({"cmd": "echo made of tests"})
    served.upstream.add(served.call("exec_command", command), served.say("It", " ran."))
    said = await items_of(await codex("Run it", tmp_path, served.base_url, served.secret))
    assert "It ran." in json.dumps(said)
    assert "turn.completed" in json.dumps(said)
    assert "made of tests" in json.dumps(served.last_results())


async def test_codex_hears_of_an_error(served: Served, tmp_path: Path) -> None:
    """By name; and it does not go on as if nothing had been."""
    process = await codex("Hello", tmp_path, served.base_url + "/nowhere", served.secret)
    assert "turn.failed" in json.dumps(await items_of(process))


async def test_codex_that_is_ended_stops_the_model(served: Served, tmp_path: Path) -> None:
    """The connection to the model is closed."""
    upstream, aborted = served.upstream, served.upstream.aborted
    upstream.add(served.hang())
    process = await codex("Hello", tmp_path, served.base_url, served.secret)
    await upstream.until(lambda: len(upstream.requests) == 1)
    process.terminate()
    await items_of(process)
    await upstream.until(lambda: upstream.aborted == aborted + 1)
