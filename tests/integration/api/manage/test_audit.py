"""The audit log: every change by the management API is in it, and nothing ever leaves it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from quart import Quart

from api.app import ADMINS_URLS, MANAGEMENT_URLS
from api.endpoints.manage.audited import _kept
from api.endpoints.manage.guard import guarded_blueprint
from api.gateway import EXTENSION
from api.http.body import json_response
from shared.postgres.audit import AuditLog
from shared.postgres.database import Database, DatabaseUnavailable
from shared.postgres.transaction import after_commit
from shared.settings import Settings
from tests.fleet import PATIENCE_S
from tests.integration.api.manage.gateway_stub import State, management_app

if TYPE_CHECKING:
    from quart import Response
    from quart.typing import TestClientProtocol
    from redis.asyncio import Redis

TOKEN = {"x-internal-token": "geheim"}
KEYS = "/claw/v1/api-keys"
PROMPTS = "/claw/v1/system-prompts"
AUDIT = "/claw/admin/audit-log"
SETTINGS = Settings(data_dir=Path("nowhere"), internal_secret="geheim")


@pytest.fixture
def client(database: Database, redis: Redis) -> TestClientProtocol:
    """Return a client of the management API."""
    opened: TestClientProtocol = management_app(SETTINGS, database, redis).test_client()
    return opened


async def ask(client: TestClientProtocol, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Return the status and the JSON of a call."""
    response = await client.open(path, method=method, json=body, headers=TOKEN)
    return response.status_code, await response.get_json()


async def entries(client: TestClientProtocol) -> list[dict[str, Any]]:
    """Return all entries, the oldest first."""
    _, answer = await ask(client, "GET", f"{AUDIT}?limit=1000")
    found: list[dict[str, Any]] = answer["entries"]
    return found[::-1]


async def test_each_change_has_an_entry(client: TestClientProtocol) -> None:
    """What was done, to what, with which values; a look changes nothing."""
    _, key = await ask(client, "POST", KEYS, {"name": "myapp", "admin_allowed": True, "rpm_limit": 5})
    await ask(client, "PATCH", f"{KEYS}/{key['id']}", {"rpm_limit": 6, "monthly_budget_usd": None})
    await ask(client, "DELETE", f"{KEYS}/{key['id']}")
    await ask(client, "GET", KEYS)
    rule = {"task_class": "chat", "source_tier": "api_key", "enabled": False}
    await ask(client, "PUT", "/ai/routing/config", [rule])
    found = await entries(client)
    assert [(each["operation"], each["actor"]) for each in found] == [
        ("create_key", "internal"),
        ("change_key", "internal"),
        ("revoke_key", "internal"),
        ("change_routing", "internal"),
    ]
    assert set(found[0]) == {"id", "operation", "actor", "created_at", "details"}
    made, changed, revoked, routing = (each["details"] for each in found)
    assert (made["made"], made["status"]) == (key["id"], 201)
    assert made["asked"] == {"name": "myapp", "admin_allowed": True, "rpm_limit": 5}
    assert (changed["key_id"], changed["asked"]) == (key["id"], {"rpm_limit": 6, "monthly_budget_usd": None})
    assert (revoked["key_id"], revoked["asked"]) == (key["id"], None)
    assert routing["asked"] == [rule]


async def test_the_bounds_of_a_key_are_kept(client: TestClientProtocol) -> None:
    """They say what it may use, and hold no secret."""
    bounds = {"allowed_models": ["qwen*"], "allowed_tiers": ["local"], "expires_at": "2030-01-01T00:00:00Z"}
    status, _ = await ask(client, "POST", KEYS, {"name": "guest", **bounds})
    assert status == 201
    (made,) = await entries(client)
    assert made["details"]["asked"] == {"name": "guest", **bounds}


async def test_what_was_refused_has_none(client: TestClientProtocol) -> None:
    """It has changed nothing."""
    await ask(client, "POST", KEYS, {"name": ""})
    await ask(client, "DELETE", f"{KEYS}/{UUID(int=1)}")
    await client.post(KEYS, json={"name": "a"})
    assert await entries(client) == []


async def test_no_secret_and_no_prompt_is_in_an_entry(client: TestClientProtocol, database: Database) -> None:
    """Neither a new key, which its reply shows, nor what a system prompt says."""
    _, key = await ask(client, "POST", KEYS, {"name": "a"})
    await ask(client, "POST", PROMPTS, {"name": "p", "content": "planted-secret"})
    rows = await database.fetch("SELECT details::text AS text FROM np_claw_audit_log")
    written = " ".join(row["text"] for row in rows)
    assert len(rows) == 2
    assert key["key"] not in written
    assert "planted-secret" not in written


texts = st.text(min_size=1, max_size=20)


@given(st.dictionaries(st.sampled_from(["api_key", "key", "content", "token", "x"]), texts | st.integers()))
def test_texts_of_unknown_fields_are_not_kept(asked: dict[str, Any]) -> None:
    """Whatever they are called: only what is known to be no secret is."""
    kept = _kept(asked)
    assert set(kept) == set(asked)
    assert all(kept[name] == ("(not kept)" if isinstance(value, str) else value) for name, value in asked.items())


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE np_claw_audit_log SET actor = 'nobody'",
        "UPDATE np_claw_audit_log SET actor = 'nobody' WHERE false",
        "DELETE FROM np_claw_audit_log",
        "TRUNCATE np_claw_audit_log",
        "TRUNCATE np_claw_audit_log CASCADE",
    ],
)
async def test_rows_are_never_changed(database: Database, statement: str) -> None:
    """A trigger refuses it, to the owner of the table too."""
    log = AuditLog(database)
    await log.add("create_key", "internal", {})
    with pytest.raises(DatabaseUnavailable, match="append-only") as refused:
        await database.execute(statement)
    assert isinstance(refused.value.__cause__, asyncpg.InsufficientPrivilegeError)
    assert [each.actor for each in await log.list(10)] == ["internal"]


async def test_pages_follow_each_other(client: TestClientProtocol, database: Database) -> None:
    """By `next_before`; any text may be in an entry."""
    log = AuditLog(database)
    for number in range(5):
        await log.add("try", "internal", {"number": number, "text": "\x00 \ud7ff é"})
    seen: list[int] = []
    before = ""
    while True:
        _, answer = await ask(client, "GET", f"{AUDIT}?limit=2{before}")
        seen += [each["details"]["number"] for each in answer["entries"]]
        if answer["next_before"] is None:
            break
        before = f"&before={answer['next_before']}"
    assert seen == [4, 3, 2, 1, 0]
    assert (await ask(client, "GET", f"{AUDIT}?before=x"))[0] == 400
    assert (await ask(client, "GET", f"{AUDIT}?limit=1001"))[0] == 400


async def test_nothing_is_changed_while_no_entry_can_be_written(client: TestClientProtocol, database: Database) -> None:
    """503, and the key is not made."""
    await database.execute("ALTER TABLE np_claw_audit_log RENAME TO away")
    status, answer = await ask(client, "POST", KEYS, {"name": "a"})
    assert (status, isinstance(answer["error"], str)) == (503, True)
    assert (await ask(client, "GET", KEYS))[1]["keys"] == []


async def block_entries(database: Database) -> None:
    """Let entries be refused, of which that is not known before."""
    await database.execute("""
        CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'disk' USING ERRCODE = 'disk_full'; END $$;
        CREATE TRIGGER fail BEFORE INSERT ON np_claw_audit_log EXECUTE FUNCTION fail()
    """)


CHANGES: list[tuple[str, str, Any]] = [
    ("POST", KEYS, {"name": "a"}),
    ("PATCH", f"{KEYS}/KEY", {"name": "a"}),
    ("DELETE", f"{KEYS}/KEY", None),
    ("POST", PROMPTS, {"name": "p", "content": "c"}),
    ("PUT", "/ai/routing/config", [{"task_class": "chat", "source_tier": "api_key", "enabled": False}]),
]
STATE = """
    SELECT json_build_array(
        (SELECT json_agg(keys ORDER BY keys.id) FROM np_claw_api_keys AS keys),
        (SELECT json_agg(prompts) FROM np_claw_system_prompts AS prompts),
        (SELECT json_agg(rules) FROM np_claw_routing AS rules)
    )::text AS state
"""


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: f"{change[0]} {change[1]}")
async def test_a_change_stands_with_its_entry_or_not_at_all(
    database: Database, redis: Redis, change: tuple[str, str, Any]
) -> None:
    """The caller gets 503, nobody hears of it, and once entries can be added again it is carried out."""
    client = management_app(SETTINGS, database, redis).test_client()
    _, key = await ask(client, "POST", KEYS, {"name": "first"})
    method, path, body = change[0], change[1].replace("KEY", key["id"]), change[2]
    before = await database.fetchrow(STATE)
    await block_entries(database)
    news = redis.pubsub()
    await news.subscribe("claw:news")
    await news.get_message(timeout=PATIENCE_S)

    status, answer = await ask(client, method, path, body)

    assert (status, "changed nothing" in answer["error"]) == (503, True)
    assert await database.fetchrow(STATE) == before
    assert await redis.exists(f"claw:revoked:{key['id']}") == 0
    await redis.publish("claw:news", b"nothing else")
    heard = await news.get_message(timeout=PATIENCE_S)
    assert heard is not None
    assert heard["data"] == b"nothing else"
    await news.aclose()  # type: ignore[no-untyped-call]  # redis-py has no types here

    await database.execute("DROP TRIGGER fail ON np_claw_audit_log")
    assert (await ask(client, method, path, body))[0] in {200, 201}
    assert await database.fetchrow(STATE) != before
    assert len(await entries(client)) == 2


async def test_a_change_elsewhere_whose_entry_cannot_be_written_is_told_and_logged(
    database: Database, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller gets 503 though it was carried out; the log has what the table lacks."""

    async def set_something() -> Response:
        await redis.set("test:something", b"1")
        return json_response({"id": "7"})

    await block_entries(database)
    app = Quart("apart")
    app.extensions[EXTENSION] = State(SETTINGS, database, redis)
    app.register_blueprint(guarded_blueprint([("POST", "/claw/something", set_something)]))
    with caplog.at_level(logging.ERROR):
        status, answer = await ask(app.test_client(), "POST", "/claw/something")
    assert (status, "was carried out" in answer["error"]) == (503, True)
    assert await redis.get("test:something") == b"1"
    assert any("the audit log lacks a change" in record.getMessage() for record in caplog.records)


async def test_what_failed_half_way_has_an_entry_and_is_undone(database: Database, redis: Redis) -> None:
    """The entry says how it ended; what it did in PostgreSQL is gone, and what should follow does not."""
    followed: list[int] = []

    async def follow() -> None:
        followed.append(1)

    async def change_half() -> Response:
        await database.execute("INSERT INTO np_claw_routing VALUES ('chat', 'local', 1, true)")
        await after_commit(follow)
        raise ConnectionResetError

    app = Quart("apart")
    app.extensions[EXTENSION] = State(SETTINGS, database, redis)
    app.register_blueprint(guarded_blueprint([("POST", "/claw/half", change_half)]))
    assert (await ask(app.test_client(), "POST", "/claw/half"))[0] == 503
    assert await database.fetch("SELECT 1 FROM np_claw_routing") == []
    assert followed == []
    (entry,) = await AuditLog(database).list(10)
    assert (entry.operation, entry.details["status"]) == ("change_half", 503)


AUDITED_URLS = MANAGEMENT_URLS + ADMINS_URLS


def test_the_operations_are_known() -> None:
    """They stand in the table for good: a handler that gets another name changes what its entries are called."""
    assert sorted(handler.__name__ for method, _, handler in AUDITED_URLS if method != "GET") == [
        "add_account",
        "add_note",
        "branch_session",
        "cancel_request",
        "change_account",
        "change_key",
        "change_prompt",
        "change_routing",
        "change_session",
        "create_key",
        "create_prompt",
        "delete_session",
        "drain_worker",
        "erase_key",
        "install_model",
        "pause_backend",
        "put_document",
        "query_database",
        "refresh_snapshot",
        "remove_account",
        "remove_document",
        "remove_model",
        "remove_note",
        "remove_prompt",
        "restart_service",
        "resume_backend",
        "revoke_key",
        "rotate_key",
        "set_mode",
        "set_web_password",
    ]
