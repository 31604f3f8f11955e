"""`nself claw doctor`: each thing that can be wrong is found, with what to do about it, and nothing else is."""

from __future__ import annotations

import asyncio
import json
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING

import asyncpg
import msgspec
import pytest
from click.testing import CliRunner, Result

from cli.doctor.of_machine import open_knowledge
from cli.main import main
from cli.up.ports import free_port
from shared.ids import new_request_id
from shared.process.doctor.of_machine import check_settings
from shared.process.doctor.of_postgres import check_postgres
from shared.process.doctor.of_redis import check_redis
from shared.process.doctor.of_workers import check_workers
from shared.redis.names import USAGE_STREAM, WORKERS, worker_key
from shared.relay import ID_SIZE
from shared.settings import load_settings
from shared.types import Announcement
from tests.fleet import Fleet, ready
from tests.upstreams.scripted import ScriptedUpstream, json_answer
from workers.checkup import Checkup

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from redis.asyncio import Redis

    from shared.process.doctor.finding import Finding
    from tests.conftest import Eventually

SECRET = "sk-nobody-may-see-this"


def wrong(findings: Iterable[Finding]) -> list[str]:
    """Return what is wrong; each with something to do."""
    found = [finding for finding in findings if finding.state == "wrong"]
    assert all(finding.mend for finding in found)
    return [finding.text for finding in found]


async def doctor(*arguments: str) -> Result:
    """Run the command in a thread, as servers run in ours."""
    return await asyncio.to_thread(CliRunner().invoke, main, ("claw", "doctor", *arguments))


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set a data folder of the test's own, and a port that is free."""
    monkeypatch.setenv("CLAW_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("CLAW_PORT", str(free_port()))


# --- the command ---


async def test_settings_that_cannot_be_read_end_it_with_2(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says which, and nothing else is looked at."""
    monkeypatch.setenv("CLAW_HEARTBEAT_S", "often")
    result = await doctor()
    assert result.exit_code == 2
    assert "CLAW_HEARTBEAT_S" in result.stderr
    assert result.stdout == ""


async def test_a_machine_without_a_gateway_has_nothing_wrong() -> None:
    """What cannot be found out is said so."""
    result = await doctor("--json")
    assert result.exit_code == 0
    findings = json.loads(result.stdout)
    assert {finding["state"] for finding in findings} == {"ok", "note", "unchecked"}
    assert [finding["part"] for finding in findings if finding["state"] == "unchecked"] == ["postgres", "redis"]


async def test_a_wrong_name_and_a_taken_port_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name with the nearest right one; the exit code is 1."""
    monkeypatch.setenv("CLAW_DRAIN", "3")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv("CLAW_PORT", str(taken.getsockname()[1]))
        result = await doctor()
    assert result.exit_code == 1
    assert "CLAW_DRAIN is not a setting; CLAW_DRAIN_S is" in result.stdout
    assert "is taken by another program" in result.stdout
    assert result.stdout.endswith("\n2 things are wrong.\n")


def test_a_paid_api_that_is_named_in_part_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its worker could not start."""
    monkeypatch.setenv("CLAW_PAID_GROQ_API_KEY", SECRET)
    (said,) = wrong(check_settings(load_settings()))
    assert "CLAW_PAID_GROQ" in said
    assert SECRET not in said


async def test_servers_that_are_away_are_wrong_and_no_password_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis, PostgreSQL, model servers; workers are not checked then."""
    monkeypatch.setenv("REDIS_URL", f"redis://me:{SECRET}@127.0.0.1:{free_port()}")
    monkeypatch.setenv("DATABASE_URL", f"postgresql://me:{SECRET}@127.0.0.1:{free_port()}/claw")
    monkeypatch.setenv("PLUGIN_OLLAMA_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("CLAW_LOCAL_OPENAI_URL", f"http://127.0.0.1:{free_port()}/v1")
    monkeypatch.setenv("CLAW_LOCAL_OPENAI_API_KEY", SECRET)
    result = await doctor("--json")
    assert result.exit_code == 1
    assert SECRET not in result.output
    findings = json.loads(result.stdout)
    parts = [finding["part"] for finding in findings if finding["state"] == "wrong"]
    assert parts == ["model server", "model server", "postgres", "redis"]
    assert findings[-1]["state"] == "unchecked"


def test_knowledge_that_a_proxy_opens_to_anybody_is_wrong() -> None:
    """This machine itself may read it, and a refusal is as it should be."""
    (said,) = wrong(open_knowledge("https://ai.example.com/claw/knowledge/version", 200, "203.0.113.5"))
    assert "ai.example.com" in said
    for status, address in ((200, "127.0.1.1"), (200, "::1"), (401, "203.0.113.5"), (502, "fe80::1%eth0")):
        assert open_knowledge("https://ai.example.com/claw/knowledge/version", status, address) == []


# --- Redis ---


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("maxmemory-policy", "allkeys-lru", "It may evict"),
        ("maxmemory", "", "of maxmemory are used"),
        ("client-output-buffer-limit", "pubsub 1mb 1mb 10", "It cuts a subscriber that is 1048576 bytes behind"),
    ],
)
async def test_a_redis_that_is_set_up_wrongly_is_found(redis: Redis, name: str, value: str, said: str) -> None:
    """And only what is wrong of it."""
    before = {key: (await redis.config_get(key))[key] for key in ("maxmemory", name)}
    answers, findings = await check_redis(redis)
    assert (answers, wrong(findings)) == (True, [])
    try:
        if name == "maxmemory-policy":
            await redis.config_set("maxmemory", "1gb")
        nearly = int((await redis.info("memory"))["used_memory"] * 1.08)
        await redis.config_set(name, value or nearly)
        _, findings = await check_redis(redis)
        found = wrong(findings)
    finally:
        for key, former in before.items():
            await redis.config_set(key, former)
    assert len(found) == 1
    assert said in found[0]


async def test_a_redis_without_a_file_is_worth_a_note(redis: Redis) -> None:
    """A restart would lose what waits."""
    await redis.config_set("appendonly", "no")
    try:
        _, findings = await check_redis(redis)
    finally:
        await redis.config_set("appendonly", "yes")
    assert [finding.text.partition(":")[0] for finding in findings if finding.state == "note"] == [
        "It keeps no append-only file"
    ]


async def test_usage_that_nobody_records_is_found(redis: Redis) -> None:
    """By the age of the oldest record."""
    await redis.xadd(USAGE_STREAM, {"r": b"{}"}, id="1000-0")
    _, findings = await check_redis(redis)
    (said,) = wrong(findings)
    assert said.startswith("1 records of usage wait")


# --- PostgreSQL ---


async def test_a_database_at_this_version_is_fine(database_url: str) -> None:
    """Reachable, with pgvector, with its tables."""
    assert {finding.state for finding in await check_postgres(database_url)} == {"ok"}


async def test_a_database_without_tables_or_of_another_version_is_said(
    empty_database_url: str, database_url: str
) -> None:
    """None yet: a note. Too old: wrong. Newer: a note."""
    assert [finding.state for finding in await check_postgres(empty_database_url)] == ["ok", "ok", "note"]
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("INSERT INTO np_claw_schema_version (version) VALUES (9999)")
        assert [finding.state for finding in await check_postgres(database_url)] == ["ok", "ok", "note"]
        await connection.execute("DELETE FROM np_claw_schema_version WHERE version > 1")
        await connection.execute("INSERT INTO np_claw_schema_version (version) VALUES (1) ON CONFLICT DO NOTHING")
        (said,) = wrong(await check_postgres(database_url))
    finally:
        await connection.close()
    assert said.startswith("The tables are at version 1, this program's at ")


async def test_chunks_that_the_model_fails_on_are_said(database_url: str) -> None:
    """Why, and how many."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("""
            INSERT INTO np_claw_knowledge_chunks (id, category, title, content, keywords, commands, tags, source)
            SELECT word, 'test', word, word, '{}', '{}', '{}', '' FROM unnest(ARRAY['a', 'b']) AS word
        """)
        await connection.execute("""
            INSERT INTO np_claw_knowledge_failures (model, chunk_id, hash, reason)
            SELECT 'e5', id, CASE id WHEN 'a' THEN hash ELSE '' END, 'upstream_error' FROM np_claw_knowledge_chunks
        """)
    finally:
        await connection.close()
    (found,) = [finding for finding in await check_postgres(database_url) if finding.part == "knowledge"]
    assert (found.state, "e5 makes no vectors of 1 chunks (upstream_error)" in found.text) == ("note", True)


# --- workers ---


async def test_no_worker_is_wrong_and_its_credentials_are_not_checked(redis: Redis) -> None:
    """Of no tier."""
    findings = await check_workers(redis)
    assert wrong(findings) == ["No worker is alive: every request is refused"]
    assert sum(finding.state == "unchecked" for finding in findings) == 3


@pytest.fixture
async def refusing() -> AsyncIterator[ScriptedUpstream]:
    """Yield an OpenAI API."""
    async with ScriptedUpstream(models=("gpt-5.4-mini",)) as server:
        yield server


async def test_workers_say_what_their_upstreams_say_to_their_credentials(
    fleet: Fleet, refusing: ScriptedUpstream, redis: Redis, eventually: Eventually
) -> None:
    """One that is accepted, and one that is refused; no credential leaves its worker."""
    api = await fleet.api()
    await fleet.worker()
    paid = {"OPENAI_BASE_URL": f"{refusing.url}/v1", "OPENAI_API_KEY": SECRET}
    await fleet.worker("paid", **paid)
    await ready(api, eventually)

    async def both_live() -> bool:
        return await redis.scard(WORKERS) == 2  # type: ignore[misc,no-any-return]  # redis-py: or awaitable

    await eventually(both_live)
    findings = await check_workers(redis)
    assert wrong(findings) == []
    lists = [finding.part for finding in findings if finding.state == "ok"]
    assert lists.count("credential") == lists.count("model server") == 1
    assert [finding.text for finding in findings if finding.state == "unchecked"] == [
        "No worker of the gemini tier is alive: its model servers and credentials are not checked"
    ]
    await fleet.worker("paid", CLAW_PAID_X_URL=f"http://127.0.0.1:{free_port()}/v1", CLAW_PAID_X_API_KEY=SECRET)

    async def all_live() -> bool:
        return await redis.scard(WORKERS) == 3  # type: ignore[misc,no-any-return]  # redis-py: or awaitable

    await eventually(all_live)
    findings = await check_workers(redis)
    (said,) = wrong(findings)
    assert said.startswith("paid:x at x, asked by ")
    assert "cannot be reached. It said: [Errno 111]" in said
    assert SECRET not in repr(findings)
    # One that is refused: it is the credential that is to be mended.
    refusing.routes["/v1/models"] = json_answer({"error": {"message": f"Incorrect API key: {SECRET}"}}, status=401)
    refused = [finding for finding in await check_workers(redis) if "openai" in finding.text]
    assert [(finding.part, finding.state, finding.mend[:23]) for finding in refused] == [
        ("credential", "wrong", "Give its worker a crede")
    ]
    assert SECRET not in repr(refused)
    # One that lists nothing: there is nothing to install.
    refusing.routes["/v1/models"] = json_answer({"object": "list", "data": []})
    empty = [finding for finding in await check_workers(redis) if "openai" in finding.text]
    assert [(finding.state, finding.mend[:24]) for finding in empty] == [("note", "Has its key access to a ")]


async def test_a_clock_that_is_off_is_found(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a worker's machine, against that of Redis."""
    worker = new_request_id()

    async def publish(_channel: str, question: bytes) -> None:
        """Answer as a worker of another machine does, in 1970."""
        Checkup(redis, worker, "local", []).begin(question[:ID_SIZE])

    monkeypatch.setattr("workers.checkup.host_name", lambda: "far")
    monkeypatch.setattr("workers.checkup.time", SimpleNamespace(time=lambda: 1.0))
    monkeypatch.setattr(redis, "publish", publish)
    await redis.set(worker_key(worker), msgspec.json.encode(Announcement(worker, "local", ())), px=60_000)
    await redis.sadd(WORKERS, worker)  # type: ignore[misc]  # redis-py: or awaitable
    (said,) = wrong(await check_workers(redis))
    assert said.startswith("The clock of far is ")
    assert said.endswith(" s behind that of Redis")
