"""Api and local worker processes on a scripted Ollama, for the tests of local models: fixtures, and what they ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.fleet import INTERNAL_SECRET, Fleet, Process
from tests.upstreams.ollama_server import OllamaServer

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
    """A server that could pull MODEL and has nothing yet."""
    async with OllamaServer({MODEL: SIZE}) as server:
        yield server


@pytest.fixture
async def fleet(
    tmp_path: Path, redis: Redis, valkey_url: str, database_url: str, ollama: OllamaServer
) -> AsyncIterator[Fleet]:
    """No process yet; its local workers have the scripted Ollama."""
    del redis  # only to have it emptied
    environment = {"PLUGIN_OLLAMA_URL": ollama.url, "CLAW_HEARTBEAT_S": "0.2", "CLAW_HEARTBEAT_BOUND_S": "1.5"}
    async with Fleet(tmp_path, valkey_url, database_url, environment) as empty:
        yield empty


@pytest.fixture
async def api(fleet: Fleet, eventually: Eventually) -> Process:
    """An api process that answers."""
    process = await fleet.api()

    async def answers() -> bool:
        try:
            async with httpx.AsyncClient(base_url=process.url) as asking:
                return (await asking.get("/health")).status_code == 200
        except httpx.TransportError:
            return False

    await eventually(answers, bound_s=20)
    return process


@pytest.fixture
async def client(api: Process) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the internal token."""
    async with httpx.AsyncClient(base_url=api.url, headers=TOKEN, timeout=30) as opened:
        yield opened


@pytest.fixture
async def worker(fleet: Fleet, client: httpx.AsyncClient, eventually: Eventually) -> Process:
    """A local worker whose Ollama has been looked at."""
    process = await fleet.worker()
    await eventually(lambda: reachable(client), bound_s=20)
    return process


async def overview(client: httpx.AsyncClient, **query: str) -> dict[str, Any]:
    """What is shown of the models."""
    reply = await client.get(MODELS, params=query)
    assert reply.status_code == 200, reply.text
    shown: dict[str, Any] = reply.json()
    return shown


async def reachable(client: httpx.AsyncClient) -> bool:
    """Whether an Ollama can be asked."""
    return bool((await overview(client))["ollama_reachable"])


async def status_of(client: httpx.AsyncClient, model: str = MODEL) -> str | None:
    """How far a model is."""
    models = (await overview(client))["models"]
    return next((shown["status"] for shown in models if shown["model_name"] == model), None)


async def becomes(client: httpx.AsyncClient, eventually: Eventually, status: str | None, model: str = MODEL) -> None:
    """Wait until a model is that far."""

    async def so_far() -> bool:
        return await status_of(client, model) == status

    await eventually(so_far)
