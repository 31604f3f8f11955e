"""A disk that fills while the gateway runs: clients, /ready and logs say so, nothing ends, and all of it recovers."""

from __future__ import annotations

import asyncio
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from cli.up.embedded.postgres import EmbeddedPostgres
from cli.up.embedded.postgres_home import SYSTEM_USER
from cli.up.embedded.valkey import EmbeddedValkey
from shared.postgres.database import Database, DatabaseUnavailable
from tests.fleet import PATIENCE_S, Fleet, chat, ready
from tests.small_disks import SmallDisk, small_disk_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from cli.up.child import Program
    from tests.conftest import Eventually
    from tests.upstreams.numbered import NumberedUpstream

CHAT = "/v1/chat/completions"
NO_SPACE = "No space left on device"


class PostgresWithSmallWal(EmbeddedPostgres):
    """Its write-ahead log is on a disk of its own.

    Args:
        data_dir: has all else.
        disk: that disk.
    """

    def __init__(self, data_dir: Path, disk: SmallDisk) -> None:
        super().__init__(data_dir, throwaway=True)
        self._disk = disk

    async def program(self) -> Program:
        """Make the cluster as always, then move its log."""
        program = await super().program()
        _move(Path(program.command[program.command.index("-D") + 1], "pg_wal"), self._disk.path / "pg_wal")
        return program


def _move(log: Path, there: Path) -> None:
    """Move a folder of PostgreSQL's, unless it is there already."""
    if log.is_symlink():
        return
    shutil.move(log, there)
    log.symlink_to(there)
    for path in (there, *there.rglob("*")):
        shutil.chown(path, SYSTEM_USER)


@pytest.fixture
def small_disk() -> Iterator[SmallDisk]:
    """Yield a disk of 16 MiB."""
    with small_disk_of(16) as disk:
        yield disk


@pytest.fixture
async def valkey_on_it(small_disk: SmallDisk) -> AsyncIterator[EmbeddedValkey]:
    """Yield a Valkey with its append-only file on the small disk."""
    server = EmbeddedValkey(small_disk.path)
    async with server:
        yield server


async def test_a_disk_that_fills_under_valkey_is_named_and_survived(  # noqa: PLR0917 -- fixtures
    tmp_path: Path,
    small_disk: SmallDisk,
    valkey_on_it: EmbeddedValkey,
    database_url: str,
    upstream: NumberedUpstream,
    eventually: Eventually,
) -> None:
    """What was answered is in the log in the end; who is refused is told why."""
    environment = {"CLAW_LOCAL_OPENAI_URL": upstream.url, "CLAW_HEARTBEAT_S": "0.2", "CLAW_HEARTBEAT_BOUND_S": "4"}
    async with Fleet(tmp_path, valkey_on_it.url(), database_url, environment) as fleet:
        api = await fleet.api()
        worker = await fleet.worker()
        recorder = await fleet.recorder()
        await ready(api, eventually)
        headers = {"authorization": f"Bearer {await fleet.key()}"}
        answered = 0
        async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=PATIENCE_S) as client:

            async def ask() -> httpx.Response:
                nonlocal answered
                reply = await client.post(CHAT, json=chat())
                answered += reply.status_code == 200
                return reply

            async def is_refused() -> bool:
                reply = await ask()
                # 502 where a worker had begun it: nobody can say what became of it there.
                reason = "queue_refused" if reply.status_code == 502 else ""
                assert reply.status_code in {200, 502, 503}, reply.text
                assert reason in reply.text
                return "no space left on its disk" in str(reply.text)

            async def is_served() -> bool:
                return (await ask()).is_success

            assert await is_served()
            small_disk.fill()
            await eventually(is_refused)
            shown = (await client.get("/ready")).json()
            assert NO_SPACE in shown["why"]["redis"]
            assert NO_SPACE in api.log.read_text()
            small_disk.free()
            await eventually(is_served)
        assert [one.process.returncode for one in (api, worker, recorder)] == [None] * 3

        async def all_recorded() -> bool:
            # One that was given up may be served all the same, by a worker that nobody could tell.
            return [row["status"] for row in await fleet.usage()].count(200) >= answered

        await eventually(all_recorded)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_request_that_is_answered_as_the_disk_fills_is_ended_with_the_reason(  # noqa: PLR0917 -- fixtures
    tmp_path: Path,
    small_disk: SmallDisk,
    valkey_on_it: EmbeddedValkey,
    database_url: str,
    upstream: NumberedUpstream,
    eventually: Eventually,
    *,
    stream: bool,
) -> None:
    """Its worker lives and says so, and cannot close it: nobody waits for that longer than for a Redis that is away."""
    environment = {
        "CLAW_LOCAL_OPENAI_URL": upstream.url,
        "CLAW_HEARTBEAT_S": "0.2",
        "CLAW_HEARTBEAT_BOUND_S": "4",
        "CLAW_REDIS_OUTAGE_S": "3",
    }
    async with Fleet(tmp_path, valkey_on_it.url(), database_url, environment) as fleet:
        api = await fleet.api()
        await fleet.worker()
        await fleet.recorder()
        await ready(api, eventually)
        headers = {"authorization": f"Bearer {await fleet.key()}"}
        async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=PATIENCE_S) as client:
            upstream.hold_at = 2
            asked = asyncio.create_task(client.post(CHAT, json=chat(stream=stream)))
            await eventually(lambda: upstream.held == 1)
            small_disk.fill()
            await eventually(lambda: NO_SPACE in api.log.read_text())
            upstream.resume.set()
            reply = await asked
            assert reply.status_code == (200 if stream else 502)
            assert '"code":"queue_refused"' in reply.text
            assert "no space left on its disk" in reply.text
            assert (" t1" in reply.text) == stream
            small_disk.free()
            [row] = await eventually(fleet.usage)
            # Whoever closes it first says what it knows: its worker all of it, its api what it had heard of.
            assert 2 <= row["completion_tokens"] <= upstream.tokens


async def test_a_disk_that_fills_under_postgresql_is_named_and_survived(
    small_disk: SmallDisk, fleet: Fleet, database: Database, eventually: Eventually
) -> None:
    """Requests are answered on, and recorded once there is room; until then all say what is missing."""
    place = small_disk.path / "postgres"
    place.mkdir()
    shutil.chown(place, SYSTEM_USER)
    await database.execute(f"CREATE TABLESPACE small LOCATION '{place}'")
    await database.execute("ALTER TABLE np_claw_api_usage SET TABLESPACE small")
    api = await fleet.api()
    await fleet.worker()
    recorder = await fleet.recorder()
    await ready(api, eventually)
    small_disk.fill()
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=PATIENCE_S) as client:

        async def is_served() -> bool:
            return (await client.post(CHAT, json=chat())).status_code == 200

        async def is_ready(status: str, why: str) -> bool:
            shown = (await client.get("/ready")).json()
            return shown["status"] == status and why in shown.get("why", {}).get("usage", "")

        await eventually(is_served)
        await eventually(partial(is_ready, "degraded", NO_SPACE))
        assert NO_SPACE in recorder.log.read_text()
        assert NO_SPACE in api.log.read_text()
        small_disk.free()
        await eventually(fleet.usage)
        await eventually(partial(is_ready, "ready", ""))


async def test_a_disk_that_fills_under_the_log_of_postgresql_is_survived(
    tmp_path: Path, fleet_redis_url: str, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """PostgreSQL ends itself, and cannot start; known keys are served on, and what they asked is recorded after it."""
    with small_disk_of(48) as disk:
        async with PostgresWithSmallWal(tmp_path, disk) as url:
            async with Database(url) as database:
                await database.migrate()
            environment = {"CLAW_LOCAL_OPENAI_URL": upstream.url, "CLAW_KEY_CACHE_S": "600"}
            async with Fleet(tmp_path, fleet_redis_url, url, environment) as fleet:
                api, worker, recorder = await fleet.api(), await fleet.worker(), await fleet.recorder()
                await ready(api, eventually)
                headers = {"authorization": f"Bearer {await fleet.key()}"}
                async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=PATIENCE_S) as client:
                    assert (await client.post(CHAT, json=chat())).status_code == 200
                    await eventually(fleet.usage)
                    disk.fill()

                    async def has_ended() -> bool:
                        try:
                            async with Database(url) as database:
                                await database.execute("CREATE TABLE IF NOT EXISTS filler (text text)")
                                await database.execute("INSERT INTO filler VALUES (repeat('x', 1000))")
                                await database.execute("SELECT pg_switch_wal()")
                        except DatabaseUnavailable:
                            return True
                        return False

                    async def is_degraded() -> bool:
                        shown = await client.get("/ready")
                        return shown.status_code == 200 and shown.json()["status"] == "degraded"

                    await eventually(has_ended)
                    await eventually(is_degraded)
                    assert (await client.post(CHAT, json=chat())).status_code == 200
                    disk.free()

                    async def all_recorded() -> bool:
                        try:
                            return [row["status"] for row in await fleet.usage()] == [200, 200]
                        except DatabaseUnavailable:
                            return False

                    await eventually(all_recorded)
                assert [one.process.returncode for one in (api, worker, recorder)] == [None] * 3
