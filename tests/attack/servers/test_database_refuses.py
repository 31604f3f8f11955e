"""A PostgreSQL that answers, and says no: a table is away, a right is missing. Nothing ends, and all of it recovers."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
import httpx
import pytest

from shared.postgres.database import TABLES, Database
from shared.redis.names import NEWS_CHANNEL
from tests.fleet import PATIENCE_S, Fleet, Process, chat, ready

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from tests.conftest import Eventually
    from tests.upstreams.numbered import NumberedUpstream

ROLE = "claw_without_rights"
FIRST = {"CLAW_KEY_CACHE_S": "0.01"}


async def readiness(process: Process) -> tuple[int, str, str]:
    """Status code, status, and what PostgreSQL lacks."""
    async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
        reply = await client.get(f"{process.url}/ready")
    return reply.status_code, reply.json()["status"], reply.json().get("why", {}).get("postgres", "")


@pytest.fixture
async def small_fleet(
    tmp_path_factory: pytest.TempPathFactory,
    valkey_url: str,
    redis: Redis,
    database_url: str,
    upstream: NumberedUpstream,
) -> Fleet:
    """Return a fleet whose keys are cached for no time worth speaking of."""
    _ = redis
    environment = {"CLAW_LOCAL_OPENAI_URL": upstream.url, **FIRST}
    return Fleet(tmp_path_factory.mktemp("fleet"), valkey_url, database_url, environment)


OF_KEYS = ("np_claw_api_keys", "np_claw_retired_secrets")


@pytest.mark.parametrize("table", TABLES)
async def test_an_api_survives_each_table_that_is_away_for_a_while(
    small_fleet: Fleet, redis: Redis, database: Database, eventually: Eventually, table: str
) -> None:
    """Known keys go on working, an unknown one is 503 while its table is away, /ready names it, and all comes back."""
    async with small_fleet as fleet:
        api = await fleet.api()
        await fleet.worker()
        await ready(api, eventually)
        known, unknown = await fleet.key(), await fleet.key()
        async with httpx.AsyncClient(base_url=api.url, timeout=60) as client:

            async def ask(key: str) -> int:
                headers = {"authorization": f"Bearer {key}"}
                return (await client.post("/v1/chat/completions", json=chat(), headers=headers)).status_code

            assert await ask(known) == 200
            await database.execute(f"ALTER TABLE {table} RENAME TO away")
            for news in (b"routing", b"changed x"):
                await redis.publish(NEWS_CHANNEL, news)

            async def says_what_is_missing() -> bool:
                return await readiness(api) == (200, "degraded", f"the table {table} is missing")

            await eventually(says_what_is_missing)
            assert await ask(known) == 200
            assert await ask(unknown) == (503 if table in OF_KEYS else 200)
            await database.execute(f"ALTER TABLE away RENAME TO {table}")
            await ready(api, eventually)
            assert (await readiness(api))[1] == "ready"
            assert await ask(unknown) == 200
        assert api.process.returncode is None
        assert "Traceback" not in api.log.read_text()


async def test_an_api_that_starts_without_rights_is_ready_as_soon_as_it_has_them(
    small_fleet: Fleet, database_url: str, eventually: Eventually
) -> None:
    """/ready says what is refused; no restart is needed."""
    owner = await asyncpg.connect(database_url)
    await owner.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD 'secret'")
    try:
        parts = urlsplit(database_url)
        query = f"{parts.query}&" if parts.query else ""
        as_role = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=f"{query}user={ROLE}"))
        as_role += f"&password={quote('secret')}"
        async with small_fleet as fleet:
            api = await fleet.api(DATABASE_URL=as_role)
            await fleet.worker()

            async def says_what_is_refused() -> bool:
                try:
                    return "may not be read" in (await readiness(api))[2]
                except httpx.TransportError:
                    return False

            await eventually(says_what_is_refused)
            await owner.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {ROLE}")
            await ready(api, eventually)
            errors = [line for line in api.log.read_text().splitlines() if " ERROR " in line]
            assert sum("permission denied" in line for line in errors) == 1
    finally:
        await owner.execute(f"DROP OWNED BY {ROLE}; DROP ROLE {ROLE}")
        await owner.close()
