"""The story of a first hour: what the README says, line by line, then what goes wrong, and what its operator is told.

Read it from top to bottom: each part goes on where the one before has ended.
"""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

import httpx
import pytest

from tests.e2e.stack import Stack
from tests.fleet import PATIENCE_S
from tests.small_disks import SmallDisk, small_disk_of
from tests.upstreams.openai import replies
from tests.upstreams.scripted import Act, Answer, ScriptedUpstream, sse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.conftest import Eventually

COLUMNS = 80
DISK_MIB = 512
README = Path(__file__).resolve().parents[2] / "README.md"
COMMAND = re.compile(r"^ {4}(nself claw .*)$", re.MULTILINE)
LACKING: Final = {
    "models install": (1, "set PLUGIN_OLLAMA_URL"),
    "gemini add": (2, "No API key"),
    "chat": (2, "The question is empty"),
    "chat --resume": (2, "no session to resume"),
    "queue --watch": (0, "Backend"),
    "logs ID": (1, "does not know"),
}
"""What this gateway has no server for, or nobody who answers: how the command ends, and what it says."""
REDIS_CLI_IN_PYTHON = f"""#!{sys.executable}
import sys
from redis import Redis
_, _, url, *words = sys.argv
client = Redis.from_url(url, decode_responses=True)
print(*client.scan_iter(words[2]) if words[0] == "--scan" else (client.execute_command(*words),))
"""
"""So much of redis-cli as the README's lines need, for machines without it."""
UNDONE: Final = (
    ("routing", "set", "chat", "api_key", "--enable"),
    ("prompts", "default", "none"),
    ("prompts", "remove", "house"),
)
"""What takes back what the rest of the story would notice."""


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    """Yield a disk for the data folder."""
    with small_disk_of(DISK_MIB) as made:
        yield made


@pytest.fixture
async def model_server() -> AsyncIterator[ScriptedUpstream]:
    """Yield the newcomer's own; it says what the story wants."""
    async with ScriptedUpstream() as server:
        server.fallback = sse(replies.text("A gateway", " is a door."))
        yield server


async def test_a_first_hour(
    disk: SmallDisk, model_server: ScriptedUpstream, postgres_url: str, tmp_path: Path, eventually: Eventually
) -> None:
    """Wrong passwords, a start, the README, errors, a full disk, a killed supervisor, and the end of it all."""
    stack = Stack(disk.path, CLAW_LOCAL_OPENAI_URL=f"{model_server.url}/v1")
    await asyncio.to_thread(wrong_passwords_end_the_start, stack, postgres_url)
    try:
        await asyncio.to_thread(stack.__enter__)
        key = stack.first_key
        assert "A gateway is a door." in await asyncio.to_thread(pasted_curl, stack)
        await asyncio.to_thread(the_readme_line_by_line, stack, tmp_path)
        await what_fails_is_found(stack, model_server)
        await a_full_disk_is_named_and_survived(stack, disk, key, eventually)
        # Somebody kills the supervisor. Nothing of it goes on alone, and the next start has all that was there.
        await asyncio.to_thread(stack.kill)
        await asyncio.to_thread(stack.__enter__)
        assert "Existing API keys stay valid" in stack.shown
        assert "A gateway is a door." in await ask(stack, key)
    finally:
        await asyncio.to_thread(stack.__exit__, None, None, None)
    # They have seen enough.
    assert stack.said("claw", "remove", "--yes").endswith("Removed.\n")
    assert not (disk.path / "data").exists()


def wrong_passwords_end_the_start(stack: Stack, postgres_url: str) -> None:
    """Check that they do within seconds, by the name of the variable, and without the password."""
    parts = urlsplit(postgres_url)
    wrong = urlunsplit(parts._replace(netloc=f"{parts.username}:mistyped@{parts.netloc.rpartition('@')[2]}"))
    said = stack.refused(DATABASE_URL=wrong)
    assert "DATABASE_URL cannot be used: password authentication failed" in said
    assert "mistyped" not in said
    said = stack.refused(CLAW_PORT="many")
    assert "CLAW_PORT" in said
    assert "Traceback" not in said


def pasted_curl(stack: Stack) -> str:
    """Return it from `curl` to the blank line, in a shell."""
    line = re.search(r"^curl .*?(?=\n\n)", stack.shown, re.MULTILINE | re.DOTALL)
    assert line is not None
    return "".join(re.findall(r'"content":"([^"]*)"', in_a_shell(line[0])))


def the_readme_line_by_line(stack: Stack, folder: Path) -> None:
    """Run every command that it shows, in its order, on a terminal; what needs another server says so."""
    house = folder / "house.md"
    house.write_text("Be brief.\n")
    lines = [shlex.split(line, comments=True)[2:] for line in COMMAND.findall(README.read_text())]
    assert len(lines) > 20
    for words in lines:
        # Of its own: some commands end it.
        key_id = stack.new_key().id if "ID" in words else ""
        given = {"ID": key_id, "house.md": str(house)}
        # What watches goes on until Ctrl-C.
        typed = [given.get(word, word) for word in words if word != "--watch"]
        code, said = stack.typed("claw", *typed, columns=COLUMNS)
        expected, hint = LACKING.get(" ".join(words[:2]), (0, ""))
        assert (code, hint in said, "Traceback" in said) == (expected, True, False), (words, said)
        too_wide = [line for line in said.splitlines() if len(line) > COLUMNS and "  " in line]
        assert [line for line in too_wide if not line.startswith("Key: ")] == [], words
    for undoing in UNDONE:
        stack.said("claw", *undoing)
    # The queue, in a shell with the settings of the gateway.
    (folder / "redis-cli").write_text(REDIS_CLI_IN_PYTHON)
    (folder / "redis-cli").chmod(0o755)
    for line in re.findall(r"^ {4}(redis-cli .*)$", README.read_text(), re.MULTILINE):
        said = in_a_shell(f'PATH={folder}:$PATH; eval "{stack.said("claw", "env")}"; {line}')
        assert "arq:queue:" in said or "--scan" not in line


async def what_fails_is_found(stack: Stack, model_server: ScriptedUpstream) -> None:
    """Try a mistyped key, a server without memory, one that dies: what client, usage and logs say."""
    made = await asyncio.to_thread(stack.json_of, "claw", "api", "keys", "create", "--name", "first-hour", "--admin")
    assert "A gateway is a door." in await ask(stack, made["key"])
    assert "Incorrect API key" in await ask(stack, made["key"] + "x")
    # The model server has no memory left. Its own words reach the operator: client, usage and log.
    oom = b'{"error": {"message": "CUDA out of memory on gpu 3"}}'
    model_server.add(Answer([oom], status=500, headers={"content-type": "application/json"}))
    assert "CUDA out of memory on gpu 3" in await ask(stack, made["key"])
    # It dies in the middle of an answer: what came is the client's, and then an error instead of an end.
    model_server.add(sse(replies.chunk({"content": "A gate"}), Act.ABORT))
    broken = await ask(stack, made["key"], stream=True)
    assert "A gate" in broken
    assert "upstream_stream_broken" in broken
    assert "[DONE]" not in broken
    # All three are in the usage of the key, by its name; the one that failed says why.
    usage = await asyncio.to_thread(stack.usage, "first-hour", 3)
    assert [entry["status"] for entry in usage] == [200, 502, 502]
    details = await asyncio.to_thread(stack.said, "claw", "api", "usage", "--request", usage[1]["request_id"])
    assert "CUDA out of memory on gpu 3" in details
    logs = Path((await asyncio.to_thread(stack.environment))["NSELF_CLAW_ENV"]) / "log"
    assert "CUDA out of memory on gpu 3" in (logs / "worker-local.log").read_text()
    web = (logs / "web.log").read_text()
    assert "refused POST /v1/chat/completions from 127.0.0.1: 401 invalid_api_key" in web
    assert made["key"] not in web


async def a_full_disk_is_named_and_survived(stack: Stack, disk: SmallDisk, key: str, eventually: Eventually) -> None:
    """Look for it in the client's error, in /ready and on the terminal; and it needs nobody once there is room."""

    async def is_refused() -> bool:
        return "no space left on its disk" in await ask(stack, key)

    async def is_served() -> bool:
        return "A gateway is a door." in await ask(stack, key)

    disk.fill()
    await eventually(is_refused)
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client:
        assert "No space left on device" in (await client.get(f"{stack.url}/ready")).json()["why"]["redis"]

    async def is_said() -> bool:
        return "MiB are free" in stack.shown

    await eventually(is_said)
    disk.free()
    await eventually(is_served)


async def ask(stack: Stack, key: str, *, stream: bool = False) -> str:
    """Return a client's question, and all that it gets."""
    body = {"model": "auto", "stream": stream, "messages": [{"role": "user", "content": "Hello"}]}
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(trust_env=False, timeout=60, headers=headers) as client:
        return (await client.post(f"{stack.url}/v1/chat/completions", json=body)).text


def in_a_shell(line: str) -> str:
    """Return what a line prints that is pasted into a shell."""
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout
