"""Export and erasure of all that is known of a key."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from api.admission.auth import Authenticator
from shared.errors import Unauthenticated
from shared.postgres.database import Database, DatabaseUnavailable
from shared.postgres.keys import KeyStore
from shared.postgres.responses.conversations import ConversationStore, Item
from shared.postgres.responses.store import ResponseStore, StoredResponse
from shared.postgres.sessions import MessageRow, SessionStore, TurnRows
from shared.redis.names import budget_key, rate_key, revoked_key, tokens_key
from shared.settings import Settings
from tests.integration.api.admission.test_key_changes import bearer
from tests.integration.api.manage.gateway_stub import management_app
from workers.recording.retention import delete_old_sessions, erase_late
from workers.recording.rows import from_json
from workers.recording.table import UsageLog

if TYPE_CHECKING:
    from quart.typing import TestClientProtocol
    from redis.asyncio import Redis

TOKEN = {"x-internal-token": "geheim"}
KEYS = "/claw/v1/api-keys"
SETTINGS = Settings(data_dir=Path("nowhere"), internal_secret="geheim")
NAME = "Ada Lovelace"


@pytest.fixture
def client(database: Database, redis: Redis) -> TestClientProtocol:
    """Return a client of the management API."""
    opened: TestClientProtocol = management_app(SETTINGS, database, redis).test_client()
    return opened


async def ask(client: TestClientProtocol, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Return the status and the JSON of a call."""
    response = await client.open(path, method=method, json=body, headers=TOKEN)
    return response.status_code, await response.get_json()


async def exported(client: TestClientProtocol, key_id: str) -> list[dict[str, Any]]:
    """Return the lines of an export."""
    response = await client.get(f"{KEYS}/{key_id}/export", headers=TOKEN)
    assert response.status_code == 200
    return [json.loads(line) for line in (await response.get_data(as_text=True)).splitlines()]


async def add_turns(database: Database, key_id: str | None, turns: int, session_id: UUID | None = None) -> bool:
    """Store turns of two messages in a session; return whether they were."""
    session_id = session_id or uuid4()
    written = True
    for number in range(turns):
        turn = TurnRows(
            key_id=UUID(key_id) if key_id else None, request_id=uuid4(), begins=True, created_at=datetime.now(UTC),
            messages=tuple(
                MessageRow(role=role, message=json.dumps({"role": role}), content=f"secret {number}", digest=b"d")
                for role in ("user", "assistant")
            ),
        )  # fmt: skip
        async with SessionStore(database).writing(session_id) as writer:
            written = await writer.write(turn)
    return written


def record(key_id: str | None, cost_usd: float = 0.25) -> bytes:
    """Return the usage record of a request of now."""
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    return json.dumps({
        "request_id": uuid4().hex, "key_id": key_id, "endpoint": "chat", "asked_model": "m", "model": "m",
        "tier": "paid", "admitted_ms": now_ms, "prompt_tokens": 3, "completion_tokens": 4, "cost_usd": cost_usd,
        "usage_source": "reported", "attempts": 1, "error_reason": "the words of an upstream",
    }).encode()  # fmt: skip


async def add_usage(database: Database, key_id: str | None, count: int) -> None:
    """Record requests."""
    assert await UsageLog(database).write([from_json(record(key_id)) for _ in range(count)]) == []


async def add_responses(database: Database, key_id: str | None) -> None:
    """Store two responses of a key, the second one in a conversation that has both of its items."""
    owner, conversation = UUID(key_id) if key_id else None, uuid4()
    await ConversationStore(database).create(conversation, owner, "{}", [])
    for conversation_id, items in ((None, []), (conversation, [Item("a", '"secret"'), Item("b", "{}")])):
        name = uuid4()
        stored = StoredResponse(
            id=name, key_id=owner, root_id=name, conversation_id=conversation_id, input='["secret"]', body="{}",
            created_at=datetime.now(UTC),
        )  # fmt: skip
        await ResponseStore(database).write(stored, [], items)


async def filled(client: TestClientProtocol, database: Database) -> dict[str, Any]:
    """Return a key with three sessions, 450 messages, two responses, 430 rows of usage and an audit log."""
    _, key = await ask(client, "POST", KEYS, {"name": NAME})
    _, other = await ask(client, "POST", KEYS, {"name": "other"})
    await ask(client, "PATCH", f"{KEYS}/{key['id'].upper()}", {"name": NAME + " II"})
    for turns in (220, 4, 1):
        await add_turns(database, key["id"], turns)
    for owner in (key["id"], other["id"], None):
        await add_responses(database, owner)
    await add_turns(database, other["id"], 1)
    await add_turns(database, None, 1)
    await add_usage(database, key["id"], 430)
    await add_usage(database, other["id"], 1)
    await add_usage(database, None, 1)
    return {**key, "other": other["id"]}


async def everything(database: Database) -> str:
    """Return all that the tables of a key have, as text."""
    tables = ("api_keys", "retired_secrets", "sessions", "messages", "responses", "api_usage", "audit_log")
    rows = [await database.fetch(f"SELECT t::text AS text FROM np_claw_{table} AS t") for table in tables]  # noqa: S608 -- names of our own
    return "\n".join(row["text"] for each in rows for row in each)


async def test_an_export_has_all_of_a_key_and_nothing_of_another(
    client: TestClientProtocol, database: Database
) -> None:
    """In pages; its last line counts the others, and that it was made stands in the audit log."""
    key = await filled(client, database)
    first, *lines, last = await exported(client, key["id"])
    assert (first["type"], first["id"], first["name"]) == ("key", key["id"], NAME + " II")
    kinds = [line["type"] for line in lines]
    found = {f"{kind}s": kinds.count(kind) for kind in ("session", "message", "response", "conversation", "item")}
    assert found == {"sessions": 3, "messages": 450, "responses": 2, "conversations": 1, "items": 2}
    assert kinds.count("usage") == 430
    assert last == {"type": "end", **found, "usage": 430}
    assert len({line["request_id"] for line in lines if line["type"] == "usage"}) == 430
    assert {line["key_id"] for line in lines if line["type"] == "usage"} == {key["id"]}
    text = json.dumps([first, *lines, last])
    assert key["other"] not in text
    assert key["key"] not in text
    entries = (await ask(client, "GET", "/claw/admin/audit-log"))[1]["entries"]
    assert (entries[0]["operation"], entries[0]["details"]) == ("export_key", {"key_id": key["id"]})
    for wrong in (str(uuid4()), "x"):
        assert (await ask(client, "GET", f"{KEYS}/{wrong}/export"))[0] == 404


async def test_an_erased_key_has_left_nothing_but_sums(
    client: TestClientProtocol, database: Database, redis: Redis
) -> None:
    """Its name is nowhere any more; others keep theirs, and the sums are what they were."""
    key = await filled(client, database)
    _, rotated = await ask(client, "POST", f"{KEYS}/{key['id']}/rotate", {})
    for name in (rate_key(key["id"]), tokens_key(key["id"])):
        await redis.set(name, b"1")
    await redis.hset(budget_key("2026-11"), mapping={"spent": 5, f"spent:{key['id']}": 5})  # type: ignore[misc]  # redis-py: or awaitable
    sums = "SELECT count(*), sum(cost_usd), sum(prompt_tokens) FROM np_claw_api_usage"
    before = await database.fetchrow(sums)

    status, answer = await ask(client, "POST", f"{KEYS}/{key['id']}/erase", {})

    assert (status, answer) == (
        200,
        {"id": key["id"], "erased": True, "sessions": 3, "usage": 430, "audit_entries": 2}
        | {"responses": 2, "conversations": 1},
    )
    assert await database.fetchrow(sums) == before
    text = await everything(database)
    assert NAME not in text
    assert key["key_prefix"] not in text
    assert rotated["key_prefix"] not in text
    assert await database.fetch("SELECT 1 FROM np_claw_sessions WHERE key_id = $1", UUID(key["id"])) == []
    assert await database.fetch("SELECT 1 FROM np_claw_api_usage WHERE key_id = $1", UUID(key["id"])) == []
    assert (await database.fetchrow("SELECT count(*) AS n FROM np_claw_messages"))["n"] == 4  # type: ignore[index]  # a count has a row
    for table, left in (("responses", 4), ("conversations", 2), ("conversation_items", 4)):
        rows = await database.fetch(f"SELECT 1 FROM np_claw_{table}")  # noqa: S608 -- a name of this test
        assert len(rows) == left, table
    assert await redis.exists(rate_key(key["id"]), tokens_key(key["id"])) == 0
    assert await redis.hgetall(budget_key("2026-11")) == {b"spent": b"5"}  # type: ignore[misc]  # redis-py: or awaitable
    assert await redis.exists(revoked_key(key["id"])) == 1
    for secret in (key["key"], rotated["key"]):
        with pytest.raises(Unauthenticated):
            await Authenticator(SETTINGS, KeyStore(database)).authenticate(bearer(secret))
    usage = (await ask(client, "GET", "/claw/v1/usage?key_id=erased"))[1]["usage"]
    assert {(row["key_id"], row["key_name"], row["error_reason"]) for row in usage} == {("erased", "erased", None)}
    assert len(usage) == 430
    await redis.delete(budget_key("2026-11"))


async def test_erasing_again_is_no_error(client: TestClientProtocol, database: Database) -> None:
    """Nothing is left to find; both stand in the audit log, and the erasure of the name too, without it."""
    key = await filled(client, database)
    await ask(client, "POST", f"{KEYS}/{key['id']}/erase", {})
    status, answer = await ask(client, "POST", f"{KEYS}/{key['id']}/erase", {})
    assert (status, answer["sessions"], answer["usage"], answer["audit_entries"]) == (200, 0, 0, 0)
    entries = (await ask(client, "GET", "/claw/admin/audit-log"))[1]["entries"]
    assert [entry["operation"] for entry in entries[:3]] == ["erase_key", "erase_key", "erase_from_audit"]
    assert entries[2]["details"] == {"key_id": key["id"], "entries": 2}
    assert (await ask(client, "POST", f"{KEYS}/{uuid4()}/erase", {}))[0] == 404
    assert (await ask(client, "POST", f"{KEYS}/{key['id']}/rotate", {}))[0] == 404
    assert (await ask(client, "PATCH", f"{KEYS}/{key['id']}", {"name": "back"}))[0] == 404


async def test_what_ends_later_is_nobodys(client: TestClientProtocol, database: Database) -> None:
    """A request that ran while its key was erased stores no session, and its usage has no key."""
    key = await filled(client, database)
    await ask(client, "POST", f"{KEYS}/{key['id']}/erase", {})
    assert not await add_turns(database, key["id"], 1)
    await add_usage(database, key["id"], 2)
    await add_usage(database, key["other"], 1)
    assert await database.fetch("SELECT 1 FROM np_claw_sessions WHERE key_id = $1", UUID(key["id"])) == []
    rows = await database.fetch("SELECT key_id, count(*) AS n FROM np_claw_api_usage GROUP BY key_id")
    assert {row["key_id"]: row["n"] for row in rows} == {UUID(int=0): 432, UUID(key["other"]): 2, None: 1}
    # One that was written by a recorder that did not know yet.
    await database.execute(
        "UPDATE np_claw_api_usage SET key_id = $1 WHERE request_id IN "
        "(SELECT request_id FROM np_claw_api_usage WHERE key_id = $2 LIMIT 1)",
        *(UUID(key["id"]), UUID(int=0)),
    )
    await erase_late(database)
    assert await database.fetch("SELECT 1 FROM np_claw_api_usage WHERE key_id = $1", UUID(key["id"])) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE np_claw_audit_log SET actor = 'nobody'",
        "DO $$ BEGIN UPDATE np_claw_audit_log SET actor = 'np_claw_erase_from_audit(uuid) line'; END $$",
        """
        CREATE FUNCTION np_claw_erase_from_audits(key uuid) RETURNS void LANGUAGE plpgsql AS
        $$ BEGIN UPDATE np_claw_audit_log SET actor = 'nobody'; END $$;
        SELECT np_claw_erase_from_audits(gen_random_uuid())
        """,
    ],
)
async def test_nothing_else_changes_the_audit_log(
    client: TestClientProtocol, database: Database, statement: str
) -> None:
    """Also after an erasure: its way in is open for that one function alone."""
    key = await filled(client, database)
    await ask(client, "POST", f"{KEYS}/{key['id']}/erase", {})
    before = await database.fetch("SELECT * FROM np_claw_audit_log ORDER BY id")
    with pytest.raises(DatabaseUnavailable) as refused:
        await database.execute(statement)
    assert isinstance(refused.value.__cause__, asyncpg.InsufficientPrivilegeError)
    assert await database.fetch("SELECT * FROM np_claw_audit_log ORDER BY id") == before


async def test_sessions_that_nobody_continued_are_gone(database: Database) -> None:
    """By their last message, with their messages, in batches; the internal token's too."""
    key, _ = await KeyStore(database).create("a")
    kept, old = uuid4(), [uuid4() for _ in range(3)]
    for session_id in (kept, *old):
        await add_turns(database, None if session_id == old[0] else key.id, 2, session_id)
    then = datetime.now(UTC) - timedelta(days=30, minutes=1)
    await database.execute("UPDATE np_claw_sessions SET last_message_at = $1 WHERE id = ANY ($2)", then, old)
    assert await delete_old_sessions(database, 31) == 0
    assert await delete_old_sessions(database, 30) == 3
    assert await delete_old_sessions(database, 10**9) == 0
    rows = await database.fetch("SELECT DISTINCT session_id FROM np_claw_messages")
    assert [row["session_id"] for row in rows] == [kept]
