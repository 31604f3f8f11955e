"""`nself claw ...` beside a running management API."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from shared.settings import Settings
from tests.integration.api.manage.gateway_stub import management_app, served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from redis.asyncio import Redis

    from shared.postgres.database import Database


@pytest.fixture
async def url(database: Database, redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """Yield the gateway's address, where the command looks for it."""
    async with served(management_app(Settings(data_dir=tmp_path, internal_secret="geheim"), database, redis)) as url:
        monkeypatch.setenv("NSELF_CLAW_URL", url)
        monkeypatch.setenv("PLUGIN_INTERNAL_SECRET", "geheim")
        monkeypatch.setenv("CLAW_DATA_DIR", str(tmp_path))
        yield url


async def claw(*arguments: str, given: str | None = None) -> Result:
    """Run the command in a thread, as the gateway runs in ours."""
    return await asyncio.to_thread(CliRunner().invoke, main, ("claw", *arguments), input=given)
