"""Keys that change: by the management API, and seen by every api process at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import httpx
import pytest
from werkzeug.datastructures import Headers

from api.admission.auth import Authenticator
from shared.postgres.database import Database
from shared.postgres.keys import ApiKey, KeyChange, KeyStore
from shared.settings import Settings
from tests.fleet import INTERNAL_SECRET, Fleet, Process, chat, ready
from tests.integration.api.manage.gateway_stub import management_app

if TYPE_CHECKING:
    from quart.typing import TestClientProtocol
    from redis.asyncio import Redis

    from tests.conftest import Eventually


TOKEN = {"x-internal-token": "geheim"}
KEYS = "/claw/v1/api-keys"
SETTINGS = Settings(data_dir=Path("nowhere"), internal_secret="geheim")


@pytest.fixture
def management(database: Database, redis: Redis) -> TestClientProtocol:
    """Return a client of the management API."""
    opened: TestClientProtocol = management_app(SETTINGS, database, redis).test_client()
    return opened


def bearer(secret: str) -> Headers:
    """Return the headers of a request with a key."""
    return Headers({"authorization": f"Bearer {secret}"})


async def test_a_key_is_created_with_a_budget(management: TestClientProtocol) -> None:
    """Null where none is given; 0 is a budget too."""
    for given, kept in (({}, None), ({"monthly_budget_usd": None}, None), ({"monthly_budget_usd": 0}, 0.0)):
        made = await (await management.post(KEYS, json={"name": "a", **given}, headers=TOKEN)).get_json()
        assert made["monthly_budget_usd"] == kept
    listed = (await (await management.get(KEYS, headers=TOKEN)).get_json())["keys"]
    assert [key["monthly_budget_usd"] for key in listed] == [None, None, 0.0]


@pytest.mark.parametrize(
    "change",
    [
        {"name": " new name "},
        {"rpm_limit": 5},
        {"admin_allowed": False},
        {"monthly_budget_usd": 0.000001},
        {"monthly_budget_usd": 0},
        {"monthly_budget_usd": None},
        {"name": "b", "rpm_limit": 1_000_000, "admin_allowed": False, "monthly_budget_usd": 1_000_000},
    ],
)
async def test_a_change_changes_what_it_names_only(
    management: TestClientProtocol, database: Database, change: dict[str, object]
) -> None:
    """The reply is the key as it then is, without its secret, and the next listing says the same."""
    keys = KeyStore(database)
    key, _ = await keys.create("old", rpm_limit=60, admin_allowed=True, monthly_budget_usd=12.5)
    untouched, _ = await keys.create("other", monthly_budget_usd=1)
    before = (await (await management.get(KEYS, headers=TOKEN)).get_json())["keys"]
    response = await management.patch(f"{KEYS}/{key.id}", json=change, headers=TOKEN)
    assert response.status_code == 200
    changed = await response.get_json()
    named = {field: value.strip() if isinstance(value, str) else value for field, value in change.items()}
    assert changed == before[0] | named
    assert (await (await management.get(KEYS, headers=TOKEN)).get_json())["keys"] == [changed, before[1]]
    assert before[1]["id"] == untouched.id


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"{}", "must be given"),
        (b"[]", "object"),
        (b"{", "JSON"),
        (b'{"name": ""}', "name"),
        (b'{"name": " "}', "name"),
        (b'{"name": null}', "name"),
        (b'{"rpm_limit": 0}', "rpm_limit"),
        (b'{"rpm_limit": null}', "rpm_limit"),
        (b'{"admin_allowed": null}', "admin_allowed"),
        (b'{"monthly_budget_usd": -0.01}', "monthly_budget_usd"),
        (b'{"monthly_budget_usd": 1000001}', "monthly_budget_usd"),
        (b'{"monthly_budget_usd": "5"}', "monthly_budget_usd"),
        (b'{"monthly_budget_usd": true}', "monthly_budget_usd"),
        (b'{"monthly_budget_usd": NaN}', ""),
        (b'{"monthly_budget_usd": 1e999}', ""),
        (b'{"budget": 5}', "budget"),
        (b'{"id": "x"}', "id"),
    ],
)
async def test_a_wrong_change_is_refused_by_name(
    management: TestClientProtocol, database: Database, body: bytes, named: str
) -> None:
    """400 that says which field; the key stays as it was."""
    key, _ = await KeyStore(database).create("old")
    response = await management.patch(f"{KEYS}/{key.id}", data=body, headers=TOKEN)
    assert response.status_code == 400
    assert named in (await response.get_json())["error"]
    assert await KeyStore(database).list() == [key]


async def test_only_an_active_key_can_be_changed(management: TestClientProtocol, database: Database) -> None:
    """404 for a revoked one, an unknown one and what is no id; 401 without the internal token."""
    keys = KeyStore(database)
    key, secret = await keys.create("gone")
    await keys.revoke(key.id)
    for key_id in (key.id, str(UUID(int=1)), "abc"):
        response = await management.patch(f"{KEYS}/{key_id}", json={"rpm_limit": 5}, headers=TOKEN)
        assert response.status_code == 404
        assert isinstance((await response.get_json())["error"], str)
    refused = await management.patch(
        f"{KEYS}/{key.id}", json={"rpm_limit": 5}, headers={"authorization": f"Bearer {secret}"}
    )
    assert refused.status_code == 401


async def test_the_principal_knows_the_budget_of_its_key(database: Database) -> None:
    """None for a key without one and for the internal token."""
    keys = KeyStore(database)
    authenticator = Authenticator(SETTINGS, keys)
    for budget_usd in (None, 0.0, 12.34):
        _, secret = await keys.create("a", monthly_budget_usd=budget_usd)
        assert (await authenticator.authenticate(bearer(secret))).monthly_budget_usd == budget_usd
    assert (await authenticator.authenticate(Headers(TOKEN))).monthly_budget_usd is None


class _Overtaken(KeyStore):
    """Reads a key, and before the answer arrives the key changes and the news of that comes."""

    authenticator: Authenticator

    async def find_by_hash(self, key_hash: bytes) -> ApiKey | None:
        found = await super().find_by_hash(key_hash)
        if found is not None and found.rpm_limit == 60:
            await self.update(found.id, KeyChange(rpm_limit=5))
            self.authenticator.invalidate(found.id)
        return found


async def test_news_that_overtakes_the_reading_of_a_key_is_not_lost(database: Database) -> None:
    """The next request does not find the old state in the cache."""
    keys = _Overtaken(database)
    authenticator = keys.authenticator = Authenticator(SETTINGS, keys)
    _, secret = await keys.create("a")
    assert (await authenticator.authenticate(bearer(secret))).rpm_limit == 60
    assert (await authenticator.authenticate(bearer(secret))).rpm_limit == 5


async def test_a_changed_key_works_on_while_postgres_is_away(database_url: str) -> None:
    """As it was, since nobody can say what it is now."""
    async with Database(database_url) as database:
        keys = KeyStore(database)
        authenticator = Authenticator(SETTINGS, keys)
        key, secret = await keys.create("a")
        await authenticator.authenticate(bearer(secret))
    authenticator.invalidate(key.id)
    assert (await authenticator.authenticate(bearer(secret))).rpm_limit == 60


async def test_a_change_reaches_every_api_process_at_once(fleet: Fleet, eventually: Eventually) -> None:
    """Though both have the key in their caches, for an hour."""
    first, second = [await fleet.api(CLAW_KEY_CACHE_S="3600") for _ in range(2)]
    await fleet.worker()
    secret = await fleet.key(rpm_limit=1000)
    internal = {"x-internal-token": INTERNAL_SECRET}
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {secret}"}, timeout=60) as client:

        async def limit_at(process: Process) -> str:
            reply = await client.post(f"{process.url}/v1/chat/completions", json=chat())
            assert reply.status_code == 200
            return reply.headers["x-ratelimit-limit-requests"]

        for process in (first, second):
            await ready(process, eventually)
            assert await limit_at(process) == "1000"
        (key,) = (await client.get(first.url + KEYS, headers=internal)).json()["keys"]
        changed = await client.patch(f"{first.url}{KEYS}/{key['id']}", headers=internal, json={"rpm_limit": 2000})
        assert changed.json()["rpm_limit"] == 2000

        async def changed_everywhere() -> bool:
            return [await limit_at(process) for process in (first, second)] == ["2000", "2000"]

        await eventually(changed_everywhere)
