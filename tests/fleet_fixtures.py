"""A pytest plugin: a running fleet (api, local worker and recorder) on a counting upstream.

A folder whose tests kill servers overrides `fleet_redis_url` in its conftest.py with a Valkey of the test's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from cli.up.embedded.valkey import EmbeddedValkey
from tests.fleet import PATIENCE_S, Fleet, Process, ready
from tests.upstreams.numbered import NumberedUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from redis.asyncio import Redis

    from tests.conftest import Eventually


@pytest.fixture
async def upstream() -> AsyncIterator[NumberedUpstream]:
    """A counting upstream."""
    async with NumberedUpstream() as server:
        yield server


@pytest.fixture
def fleet_redis_url(redis: Redis, valkey_url: str) -> str:
    """The Valkey of the fleet: the emptied one that all tests of a pytest process share."""
    del redis  # only to have it emptied
    return valkey_url


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    """A Valkey of the test's own, with its data on disk; it is started again when it dies."""
    server = EmbeddedValkey(tmp_path)
    async with server:
        yield server


@pytest.fixture
def fleet_environment() -> dict[str, str]:
    """Return no further variables for every process; a module that needs some overrides this."""
    return {}


@pytest.fixture
async def fleet(
    tmp_path: Path,
    fleet_redis_url: str,
    database_url: str,
    upstream: NumberedUpstream,
    fleet_environment: dict[str, str],
) -> AsyncIterator[Fleet]:
    """No process yet; bounds short enough for tests."""
    bounds = {"CLAW_HEARTBEAT_S": "0.2", "CLAW_HEARTBEAT_BOUND_S": "4"}
    environment = {"CLAW_LOCAL_OPENAI_URL": upstream.url, **bounds, **fleet_environment}
    async with Fleet(tmp_path, fleet_redis_url, database_url, environment) as empty:
        yield empty


@pytest.fixture
async def api(fleet: Fleet, eventually: Eventually) -> Process:
    """An api process with a worker and a recorder, ready to serve."""
    started = await fleet.api()
    await fleet.worker()
    await fleet.recorder()
    await ready(started, eventually)
    return started


@pytest.fixture
async def client(fleet: Fleet, api: Process) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the api with a key without a limit that matters."""
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    limits = httpx.Limits(max_connections=200)
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=PATIENCE_S, limits=limits) as opened:
        yield opened
