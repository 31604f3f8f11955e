"""The management API of keys and usage."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from shared.ids import new_request_id
from shared.postgres.database import Database
from shared.postgres.keys import KeyStore, hash_secret
from shared.redis.names import USAGE_STREAM
from shared.settings import Settings
from shared.usage import UsageRecord
from tests.integration.api.manage.gateway_stub import management_app
from workers.recording.rows import from_record
from workers.recording.table import UsageLog

if TYPE_CHECKING:
    from quart.typing import TestClientProtocol
    from redis.asyncio import Redis

TOKEN = {"x-internal-token": "geheim"}
KEYS = "/claw/v1/api-keys"
USAGE = "/claw/v1/usage"


@pytest.fixture
def client(database: Database, redis: Redis) -> TestClientProtocol:
    """Return a client of the management API."""
    settings = Settings(data_dir=Path("nowhere"), internal_secret="geheim")
    opened: TestClientProtocol = management_app(settings, database, redis).test_client()
    return opened


async def use(database: Database, **changes: Any) -> UsageRecord:
    """Return a request in the usage log."""
    fields: dict[str, Any] = {
        "request_id": new_request_id(), "key_id": None, "endpoint": "chat", "requested_model": "auto",
        "admitted_ms": int(time.time() * 1000),
    }  # fmt: skip
    record = UsageRecord(**(fields | changes))
    assert await UsageLog(database).write([from_record(record)]) == []
    return record


@pytest.mark.parametrize(
    "headers", [{}, {"x-internal-token": "falsch"}, {"x-internal-token": "ü"}, {"authorization": "Bearer geheim"}]
)
@pytest.mark.parametrize(
    ("method", "path"), [("GET", KEYS), ("POST", KEYS), ("DELETE", f"{KEYS}/{UUID(int=1)}"), ("GET", USAGE)]
)
async def test_only_the_internal_token_opens_it(
    client: TestClientProtocol, method: str, path: str, headers: dict[str, str]
) -> None:
    """A gateway key or a wrong token is 401 with a string for an error."""
    response = await client.open(path, method=method, headers=headers, json=None)
    assert response.status_code == 401
    # A key that is no key says so where an admin's key would do.
    assert (await response.get_json())["error"].startswith(("A valid", "Incorrect API key"))


async def test_without_a_secret_nobody_gets_in(database: Database, redis: Redis) -> None:
    """An empty token must not equal a missing secret."""
    client = management_app(Settings(data_dir=Path("nowhere")), database, redis).test_client()
    assert (await client.get(KEYS, headers={"x-internal-token": ""})).status_code == 401


async def test_both_names_of_the_header_are_accepted(client: TestClientProtocol) -> None:
    """Existing clients send either."""
    assert (await client.get(KEYS, headers={"x-internal-secret": "geheim"})).status_code == 200


async def test_a_key_is_created_with_defaults_and_shown_once(client: TestClientProtocol, database: Database) -> None:
    """201 with all fields; the key works; the listing lacks the secret."""
    response = await client.post(KEYS, json={"name": "  myapp "}, headers=TOKEN)
    made = await response.get_json()
    assert response.status_code == 201
    assert (made["name"], made["rpm_limit"], made["admin_allowed"], made["is_active"]) == ("myapp", 60, False, True)
    found = await KeyStore(database).find_by_hash(hash_secret(made["key"]))
    assert found is not None
    assert found.id == made["id"]
    listed = (await (await client.get(KEYS, headers=TOKEN)).get_json())["keys"]
    secret = made.pop("key")
    assert listed == [made]
    assert secret.startswith(made["key_prefix"])
    wanted = {"id", "name", "key_prefix", "is_active", "admin_allowed", "rpm_limit", "created_at"}
    assert all(made[field] is not None for field in wanted)
    assert made["last_used_at"] is None
    assert datetime.fromisoformat(made["created_at"]).tzinfo is not None


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"{}", "name"),
        (b"", "name"),
        (b"[]", "object"),
        (b"{", "JSON"),
        (b'{"name": ""}', "name"),
        (b'{"name": "  "}', "name"),
        (b'{"name": "a\\u0000b"}', "name"),
        (b'{"name": 5}', "name"),
        (b'{"name": "\\ud800"}', ""),
        (b'{"name": "\xff"}', ""),
        (b'{"name": "%s"}' % (b"x" * 201), "name"),
        (b'{"name": "a", "rpm_limit": 0}', "rpm_limit"),
        (b'{"name": "a", "rpm_limit": 1000001}', "rpm_limit"),
        (b'{"name": "a", "rpm_limit": "60"}', "rpm_limit"),
        (b'{"name": "a", "rpm_limit": 1.5}', "rpm_limit"),
        (b'{"name": "a", "rpm_limit": null}', "rpm_limit"),
        (b'{"name": "a", "admin_allowed": 1}', "admin_allowed"),
        (b'{"name": "a", "budget": 5}', "budget"),
    ],
)
async def test_a_wrong_body_is_refused_by_name(client: TestClientProtocol, body: bytes, named: str) -> None:
    """400 that says which field; nothing is created."""
    response = await client.post(KEYS, data=body, headers=TOKEN)
    assert response.status_code == 400
    assert named in (await response.get_json())["error"]
    assert (await (await client.get(KEYS, headers=TOKEN)).get_json()) == {"keys": []}


async def test_revoking_is_idempotent_and_hides_the_key(client: TestClientProtocol, database: Database) -> None:
    """200 twice; gone from the listing, there with all=true as inactive."""
    key, _ = await KeyStore(database).create("gone")
    for _ in range(2):
        assert (await client.delete(f"{KEYS}/{key.id}", headers=TOKEN)).status_code == 200
    assert (await (await client.get(KEYS, headers=TOKEN)).get_json()) == {"keys": []}
    (shown,) = (await (await client.get(f"{KEYS}?all=true", headers=TOKEN)).get_json())["keys"]
    assert (shown["id"], shown["is_active"]) == (key.id, False)


@pytest.mark.parametrize("key_id", [str(UUID(int=1)), "abc", "-", "a;drop table"])
async def test_revoking_what_is_not_there_is_404(client: TestClientProtocol, key_id: str) -> None:
    """An unknown id and one that is none."""
    response = await client.delete(f"{KEYS}/{key_id}", headers=TOKEN)
    assert response.status_code == 404
    assert isinstance((await response.get_json())["error"], str)


async def test_usage_shows_every_request_newest_first(client: TestClientProtocol, database: Database) -> None:
    """With key and name, or `internal`; a model is never null."""
    key, _ = await KeyStore(database).create("myapp")
    now = int(time.time() * 1000)
    old = await use(database, key_id=key.id, model="smollm2", tier="paid", cost_usd=0.5, admitted_ms=now - 1000)
    new = await use(database, requested_model="gpt-4o", status=400, error_code="model_not_configured", admitted_ms=now)
    shown = (await (await client.get(USAGE, headers=TOKEN)).get_json())["usage"]
    assert [entry["request_id"] for entry in shown] == [str(UUID(record.request_id)) for record in (new, old)]
    assert [entry["key_id"] for entry in shown] == ["internal", key.id]
    assert [entry["key_name"] for entry in shown] == ["internal", "myapp"]
    assert [entry["model"] for entry in shown] == ["gpt-4o", "smollm2"]
    assert [entry["tier_source"] for entry in shown] == ["", "api_key"]
    assert [entry["cost_usd"] for entry in shown] == [0.0, 0.5]
    assert datetime.fromisoformat(shown[0]["created_at"]).timestamp() * 1000 == pytest.approx(now)
    assert shown[0]["day"] == datetime.fromtimestamp(now / 1000, UTC).date().isoformat()


async def test_usage_of_one_key(client: TestClientProtocol, database: Database) -> None:
    """Or of the internal token."""
    key, _ = await KeyStore(database).create("myapp")
    await use(database, key_id=key.id)
    await use(database)
    for key_id in (key.id, "internal"):
        shown = (await (await client.get(f"{USAGE}?key_id={key_id}", headers=TOKEN)).get_json())["usage"]
        assert [entry["key_id"] for entry in shown] == [key_id]


async def test_usage_of_one_request_in_every_form_of_its_id(client: TestClientProtocol, database: Database) -> None:
    """As the header says it, as the log does, and as an entry does."""
    record = await use(database)
    await use(database)
    dashed = str(UUID(record.request_id))
    for form in ("req_" + record.request_id, record.request_id, dashed):
        shown = (await (await client.get(f"{USAGE}?request_id={form}", headers=TOKEN)).get_json())["usage"]
        assert [entry["request_id"] for entry in shown] == [dashed]


async def test_pages_of_usage_neither_skip_nor_repeat(client: TestClientProtocol, database: Database) -> None:
    """Also where many requests were admitted in the same millisecond."""
    now = int(time.time() * 1000)
    sent = {(await use(database, admitted_ms=now - number // 4)).request_id for number in range(10)}
    seen: list[str] = []
    before = ""
    while before is not None:
        page = await (await client.get(f"{USAGE}?limit=3&before={before}", headers=TOKEN)).get_json()
        seen += [UUID(entry["request_id"]).hex for entry in page["usage"]]
        before = page["next_before"]
    assert len(seen) == 10
    assert set(seen) == sent


async def test_before_takes_a_plain_time(client: TestClientProtocol, database: Database) -> None:
    """What is not older is left out."""
    await use(database)
    for stamp, count in (("2020-01-01T00:00:00Z", 0), ((datetime.now(UTC) + timedelta(days=1)).isoformat(), 1)):
        page = await (await client.get(f"{USAGE}?before={stamp}", headers=TOKEN)).get_json()
        assert len(page["usage"]) == count


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=10001",
        "limit=x",
        "limit=-1",
        "key_id=x",
        "request_id=x",
        "before=x",
        "before=2020-01-01T00:00:00",
    ],
)
async def test_a_wrong_query_is_refused(client: TestClientProtocol, query: str) -> None:
    """400, naming the argument."""
    response = await client.get(f"{USAGE}?{query}", headers=TOKEN)
    assert response.status_code == 400
    assert query.partition("=")[0] in (await response.get_json())["error"]


async def test_usage_waits_for_the_recorder_but_not_for_long(client: TestClientProtocol, redis: Redis) -> None:
    """With nobody recording the answer still comes."""
    await redis.xadd(USAGE_STREAM, {"r": "waiting"})
    started = time.monotonic()
    assert (await client.get(USAGE, headers=TOKEN)).status_code == 200
    assert time.monotonic() - started > 0.9


async def test_postgres_down_is_503(redis: Redis) -> None:
    """With a string for an error, in time."""
    settings = Settings(data_dir=Path("nowhere"), internal_secret="geheim")
    async with Database("postgresql://claw@127.0.0.1:1/claw") as database:
        client = management_app(settings, database, redis).test_client()
        for method, path in (("GET", KEYS), ("DELETE", f"{KEYS}/{UUID(int=1)}"), ("GET", USAGE)):
            response = await client.open(path, method=method, headers=TOKEN, json=None)
            assert response.status_code == 503
            assert isinstance((await response.get_json())["error"], str)
