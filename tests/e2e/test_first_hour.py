"""The story of a first hour: what the README says, line by line, then what goes wrong, and what its operator is told.

Parts of the story that need a gateway of their own are elsewhere: the first start (`test_first_start.py`), a full disk,
a folder that others may read and a shell of another gateway (`tests/integration/cli/up/test_start.py`), a supervisor
that is killed (`tests/integration/cli/up/test_stop.py`), a rolling restart (`tests/chaos/test_rolling_restart.py`).
"""

from __future__ import annotations

import asyncio
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.upstreams.openai import replies
from tests.upstreams.scripted import Act, Answer, sse

if TYPE_CHECKING:
    from tests.e2e.stack import Stack
    from tests.upstreams.scripted import ScriptedUpstream

pytestmark = pytest.mark.xdist_group("scripted")

COLUMNS = 80


def on_a_terminal(stack: Stack, *arguments: str) -> str:
    """What a command shows on a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    environment = {
        "PATH": os.environ["PATH"],
        "CLAW_DATA_DIR": stack.environment()["NSELF_CLAW_ENV"],
        "COLUMNS": str(COLUMNS),
        "TERM": "dumb",
    }
    nself = Path(sys.executable).with_name("nself")
    with subprocess.Popen([nself, *arguments], stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 4096):
                shown += piece
        except OSError:  # Linux says so at the end of a terminal
            pass
    os.close(ours)
    assert process.returncode == 0, shown
    return shown.decode().replace("\r\n", "\n")


async def ask(stack: Stack, key: str, *, stream: bool = False) -> str:
    """A client's question, and all that it gets."""
    body = {"model": "auto", "stream": stream, "messages": [{"role": "user", "content": "Hello"}]}
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(trust_env=False, timeout=60, headers=headers) as client:
        return (await client.post(f"{stack.url}/v1/chat/completions", json=body)).text


async def test_a_first_hour(scripted: Stack, upstream: ScriptedUpstream) -> None:
    """Keys, a question, a wrong key, a server that fails and one that dies, and where each is found."""
    said = scripted.said
    # It runs, and says so.
    assert "Gateway:  ready" in await asyncio.to_thread(said, "claw", "status")
    # A key for an application, and a first question.
    made = await asyncio.to_thread(scripted.json_of, "claw", "api", "keys", "create", "--name", "first-hour", "--admin")
    upstream.add(sse(replies.text("A gateway", " is a door.")))
    assert "A gateway is a door." in await ask(scripted, made["key"])
    # A key that was mistyped: the client is told, and the api's log has a line without the key.
    assert "Incorrect API key" in await ask(scripted, made["key"] + "x")
    # The model server has no memory left. Its own words reach the operator: client, usage and log.
    upstream.add(
        Answer(
            [b'{"error": {"message": "CUDA out of memory on gpu 3"}}'],
            status=500,
            headers={"content-type": "application/json"},
        )
    )
    assert "CUDA out of memory on gpu 3" in await ask(scripted, made["key"])
    # It dies in the middle of an answer: what came is the client's, and then an error instead of an end.
    upstream.add(sse(replies.chunk({"content": "A gate"}), Act.ABORT))
    broken = await ask(scripted, made["key"], stream=True)
    assert "A gate" in broken
    assert "upstream_stream_broken" in broken
    assert "[DONE]" not in broken
    # All three are in the usage of the key, by its name; the one that failed says why.
    usage = (await asyncio.to_thread(scripted.json_of, "claw", "api", "usage", "--key", "first-hour"))["usage"]
    assert [entry["status"] for entry in usage] == [502, 502, 200]
    details = await asyncio.to_thread(said, "claw", "api", "usage", "--request", usage[1]["request_id"])
    assert "CUDA out of memory on gpu 3" in details
    data = Path((await asyncio.to_thread(scripted.environment))["NSELF_CLAW_ENV"])
    assert "CUDA out of memory on gpu 3" in (data / "log" / "worker-local.log").read_text()
    web = (data / "log" / "web.log").read_text()
    assert "refused POST /v1/chat/completions from 127.0.0.1: 401 invalid_api_key" in web
    assert made["key"] not in web
    # And all of it fits a terminal.
    for arguments in (("api", "keys", "list"), ("api", "usage"), ("routing", "show"), ("models", "list")):
        shown = await asyncio.to_thread(on_a_terminal, scripted, "claw", *arguments)
        assert max(map(len, shown.splitlines())) <= COLUMNS, shown
