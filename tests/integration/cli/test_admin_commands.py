"""`nself claw admin` against a running management API."""

from __future__ import annotations

import asyncio
import json
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


@pytest.fixture(autouse=True)
async def url(database: Database, redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """The gateway's address, where the command looks for it."""
    async with served(management_app(Settings(data_dir=tmp_path, internal_secret="geheim"), database, redis)) as url:
        monkeypatch.setenv("NSELF_CLAW_URL", url)
        monkeypatch.setenv("PLUGIN_INTERNAL_SECRET", "geheim")
        monkeypatch.setenv("CLAW_DATA_DIR", str(tmp_path))
        yield url


async def claw(*arguments: str) -> Result:
    """Run `nself claw ...` in a thread, as the gateway runs in ours."""
    return await asyncio.to_thread(CliRunner().invoke, main, ("claw", *arguments))


async def test_the_audit_log_is_shown() -> None:
    """Newest first, a line each; JSON is what the API said."""
    assert "Nothing was changed yet." in (await claw("admin", "audit")).output
    for name in ("a", "b"):
        assert (await claw("api", "keys", "create", "--name", name)).exit_code == 0
    head, newest, _ = (await claw("admin", "audit")).output.splitlines()
    assert head.split() == ["ID", "Time", "Operation", "Actor", "Details"]
    assert newest.split()[2:4] == ["create_key", "internal"]
    assert '"name": "b"' in newest
    (entry,) = json.loads((await claw("admin", "audit", "--limit", "1", "--json")).stdout)["entries"]
    assert entry["details"]["asked"]["name"] == "b"
