"""A pytest plugin: api and local worker processes on a scripted Ollama, for the tests of local models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from tests.fleet import INTERNAL_SECRET, PATIENCE_S, Fleet, Process
from tests.upstreams.ollama.server import OllamaServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from redis.asyncio import Redis

    from tests.conftest import Eventually

MODEL = "qwen3:0.6b"
SIZE = 500_000_000
MODELS = "/ai/models/local"
TOKEN = {"x-internal-token": INTERNAL_SECRET}


@pytest.fixture
async def ollama() -> AsyncIterator[OllamaServer]:
    """Yield a server that could pull MODEL and has nothing yet."""
    async with OllamaServer({MODEL: SIZE}) as server:
        yield server


@pytest.fixture
async def ollama_fleet(
    tmp_path: Path, redis: Redis, valkey_url: str, database_url: str, ollama: OllamaServer
) -> AsyncIterator[Fleet]:
    """Yield a fleet without a process yet; its local workers have the scripted Ollama."""
    del redis  # only to have it emptied
    environment = {"PLUGIN_OLLAMA_URL": ollama.url, "CLAW_HEARTBEAT_S": "0.2", "CLAW_HEARTBEAT_BOUND_S": "4"}
    async with Fleet(tmp_path, valkey_url, database_url, environment) as empty:
        yield empty


@pytest.fixture
async def ollama_api(ollama_fleet: Fleet, eventually: Eventually) -> Process:
    """Return an api process that answers."""
    process = await ollama_fleet.api()

    async def answers() -> bool:
        try:
            async with httpx.AsyncClient(base_url=process.url, timeout=PATIENCE_S) as asking:
                return (await asking.get("/health")).status_code == 200
        except httpx.TransportError:
            return False

    await eventually(answers)
    return process


@pytest.fixture
async def ollama_client(ollama_api: Process) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client with the internal token."""
    async with httpx.AsyncClient(base_url=ollama_api.url, headers=TOKEN, timeout=PATIENCE_S) as opened:
        yield opened


@pytest.fixture
async def ollama_worker(ollama_fleet: Fleet, ollama_client: httpx.AsyncClient, eventually: Eventually) -> Process:
    """Return a local worker whose Ollama has been looked at."""
    process = await ollama_fleet.worker()
    await eventually(lambda: reachable(ollama_client))
    return process


async def reachable(client: httpx.AsyncClient) -> bool:
    """Return whether an Ollama can be asked."""
    return bool((await client.get(MODELS)).json()["ollama_reachable"])
