"""`nself claw up` on real servers: what dies comes back, and what is stopped is gone."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tests.fleet import PATIENCE_S
from tests.integration.cli.up.up_stack import (
    DEADLINE_S,
    Up,
    command_of,
    descendants,
    printed_environment,
    running,
    until,
    up_in,
)


@pytest.fixture
async def up(tmp_path: Path) -> AsyncIterator[Up]:
    """A folder with a Procfile of small scripts; nothing runs yet."""
    async with up_in(tmp_path) as stack:
        yield stack


async def test_sigint_stops_in_order_and_leaves_nothing(up: Up) -> None:
    """The api, the workers, the recorder, then the servers: the scripts reach Valkey while they stop."""
    await up.started()
    processes = descendants(up.pid)
    assert len(processes) >= 5

    assert await up.stop(signal.SIGINT) == 0
    assert (up.folder / "stops").read_text().splitlines() == [
        "web has stopped",
        "worker-a begins to stop",
        "worker-a has stopped",
        "recorder begins to stop",
        "recorder has stopped",
    ]
    assert running(processes) == set()
    assert "database system is shut down" in (up.folder / "data" / "log" / "postgres.log").read_text()
    assert not (up.folder / "data" / "run.json").exists()


async def test_a_process_that_dies_is_started_again_on_the_same_port(up: Up) -> None:
    """And the terminal says which and how."""
    await up.started()
    first = await up.web_pid()
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client:
        with pytest.raises(httpx.HTTPError):
            await client.get(f"{up.url}/die")
    deadline = time.monotonic() + DEADLINE_S
    while (second := await up.web_pid()) in {0, first}:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)

    assert second != first
    assert "web ended with exit code 3; starting it again" in up.shown
    assert await up.stop(signal.SIGTERM) == 0


async def test_an_embedded_server_that_dies_comes_back_at_the_same_url(up: Up) -> None:
    """The running processes were given its URL once."""
    await up.started()
    environment = await printed_environment(up)
    valkey = [pid for pid in descendants(up.pid) if b"valkey-server" in command_of(pid)]
    os.kill(valkey[0], signal.SIGKILL)
    await up.shows("valkey was ended by SIGKILL; starting it again")
    deadline = time.monotonic() + DEADLINE_S
    async with Redis.from_url(environment["REDIS_URL"]) as client:
        while not await _pings(client):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)


async def _pings(client: "Redis") -> bool:
    try:
        return bool(await client.ping())
    except (RedisError, OSError):
        return False


async def test_no_process_outlives_a_killed_supervisor_and_the_next_start_works(up: Up) -> None:
    """Kill -9 gives it no chance to stop anything itself."""
    await up.started()
    processes = descendants(up.pid)
    os.kill(up.pid, signal.SIGKILL)
    await up.exit_code()
    up.shown = ""
    again = await up.started()

    assert await again.stop(signal.SIGINT) == 0
    await until(lambda: not running(processes), "the end of the orphans")


async def test_ctrl_c_during_the_start_stops_everything(up: Up) -> None:
    """Before the gateway ever became healthy."""
    (up.folder / "web.py").write_text("import signal; signal.pause()")
    await up.run()
    await up.shows("Starting the gateway")
    await up.shows("WARNING script shown")
    processes = descendants(up.pid)

    assert await up.stop(signal.SIGINT) == 0
    assert running(processes) == set()


async def test_a_second_ctrl_c_does_not_wait(up: Up) -> None:
    """A process that ignores its signal would be granted more than the test has."""
    up.environment["CLAW_DRAIN_S"] = "3600"
    (up.folder / "idle.py").write_text("import signal; signal.signal(15, signal.SIG_IGN)\nwhile True: signal.pause()")
    await up.started()
    processes = descendants(up.pid)
    os.kill(up.pid, signal.SIGINT)
    await up.shows("Stopping")

    assert await up.stop(signal.SIGINT) == 0
    assert running(processes) == set()
