"""PostgreSQL is away: completions with known keys go on, and no usage is lost."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx
import pytest

from cli.up.embedded.postgres import EmbeddedPostgres
from shared.postgres.database import Database
from tests.fleet import Fleet, chat, ready
from tests.sessions import ask, until_stored, user
from tests.streams import usage_rows
from tests.upstreams.numbered import words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from cli.up.embedded.valkey import EmbeddedValkey
    from tests.conftest import Eventually
    from tests.upstreams.numbered import NumberedUpstream


@pytest.fixture
async def postgres(tmp_path: Path) -> AsyncIterator[EmbeddedPostgres]:
    """Yield a PostgreSQL of the test's own, whose data outlives a stop."""
    server = EmbeddedPostgres(tmp_path)
    async with server as url:
        async with Database(url) as database:
            await database.migrate()
        yield server
    shutil.rmtree(server.home.base)


@pytest.fixture
async def fleet(
    tmp_path: Path, valkey: EmbeddedValkey, postgres: EmbeddedPostgres, upstream: NumberedUpstream
) -> AsyncIterator[Fleet]:
    """Yield a fleet on that PostgreSQL, with keys that are cached for no time worth speaking of."""
    environment = {"CLAW_LOCAL_OPENAI_URL": upstream.url, "CLAW_KEY_CACHE_S": "0.01"}
    async with Fleet(tmp_path, valkey.url(), postgres.url(), environment) as empty:
        yield empty


async def test_known_keys_work_and_all_usage_is_there_afterwards(
    fleet: Fleet, postgres: EmbeddedPostgres, eventually: Eventually
) -> None:
    """While PostgreSQL is stopped: a known key 200, an unknown key 503, /ready 200 and degraded; then every row."""
    process = await fleet.api()
    await fleet.worker()
    await fleet.recorder()
    await ready(process, eventually)
    known, unknown = await fleet.key(), await fleet.key()
    async with httpx.AsyncClient(base_url=process.url, timeout=60) as client:

        async def ask(key: str) -> httpx.Response:
            headers = {"authorization": f"Bearer {key}"}
            return await client.post("/v1/chat/completions", json=chat(), headers=headers)

        assert (await ask(known)).status_code == 200
        await postgres.stop()
        replies = await asyncio.gather(*(ask(known) for _ in range(20)))
        assert {reply.status_code for reply in replies} == {200}
        refused = await ask(unknown)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "database_unavailable")
        degraded = await client.get("/ready")
        assert (degraded.status_code, degraded.json()["status"]) == (200, "degraded")
        await postgres.start()
        rows = await usage_rows(fleet, eventually, 21)
        assert {row["status"] for row in rows} == {200}

        async def works_again() -> bool:
            return (await ask(unknown)).status_code == 200

        await eventually(works_again)


async def test_a_session_waits_for_postgres_and_loses_no_turn(
    fleet: Fleet, postgres: EmbeddedPostgres, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """PostgreSQL stops in the middle of an answer: a 503 for who needs the history, and then the whole of it, once."""
    process, session = await fleet.api(), str(uuid4())
    await fleet.worker()
    await fleet.recorder()
    await ready(process, eventually)
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    async with httpx.AsyncClient(base_url=process.url, timeout=60, headers=headers) as client:
        upstream.hold_at = 7
        first = asyncio.ensure_future(ask(client, session, user("one")))
        await eventually(lambda: upstream.held == 1)
        await postgres.stop()
        upstream.resume.set()
        assert (await first).status_code == 200
        refused = await ask(client, session, user("two"))
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "database_unavailable")
        assert (await client.post("/v1/chat/completions", json=chat())).status_code == 200
        wants_knowledge = {"x-nself-knowledge": "true"}
        refused = await client.post("/v1/chat/completions", json=chat(), headers=wants_knowledge)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "database_unavailable")
        await postgres.start()

        async def works_again() -> bool:
            return (await ask(client, session, user("two"))).status_code == 200

        await eventually(works_again)
        assert (await client.post("/v1/chat/completions", json=chat(), headers=wants_knowledge)).status_code == 200
        upstream.requests.pop()
        given = [message["content"] for message in upstream.requests[-1]["messages"]]
        assert given == ["one", words(40), "two"]
        await until_stored(fleet, session, 4, eventually)
