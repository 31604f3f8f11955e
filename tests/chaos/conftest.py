"""A fleet with servers of its own, that tests may kill."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from cli.up.embedded.valkey import EmbeddedValkey
from tests.fleet import Fleet, Process
from tests.fleet_fixtures import api
from tests.upstreams.numbered import NumberedUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


__all__ = ["api"]


@pytest.fixture
async def upstream() -> AsyncIterator[NumberedUpstream]:
    """A counting upstream."""
    async with NumberedUpstream(tokens=40) as server:
        yield server


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    """A Valkey of the test's own, with its data on disk; it is started again when it dies."""
    server = EmbeddedValkey(tmp_path)
    async with server:
        yield server


@pytest.fixture
async def fleet(
    tmp_path: Path, valkey: EmbeddedValkey, database_url: str, upstream: NumberedUpstream
) -> AsyncIterator[Fleet]:
    """No process yet; bounds short enough for tests."""
    environment = {"CLAW_LOCAL_OPENAI_URL": upstream.url, "CLAW_HEARTBEAT_S": "0.2", "CLAW_HEARTBEAT_BOUND_S": "1.5"}
    async with Fleet(tmp_path, valkey.url(), database_url, environment) as empty:
        yield empty


@pytest.fixture
async def client(fleet: Fleet, api: Process) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the api with a key without a limit that matters."""
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    limits = httpx.Limits(max_connections=200)
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=30, limits=limits) as opened:
        yield opened
