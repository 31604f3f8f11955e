"""Changes of a key whose news are lost, as pub/sub may lose them: over two apis that have it in their caches."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest

from shared.settings import Settings
from tests.fleet import Fleet, Process, chat, ready
from tests.integration.api.manage.gateway_stub import management_app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from quart.typing import TestClientProtocol
    from redis.asyncio import Redis

    from shared.postgres.database import Database
    from tests.conftest import Eventually

KEYS = "/claw/v1/api-keys"
TOKEN = {"x-internal-token": "geheim"}
SETTINGS = Settings(data_dir=Path("nowhere"), internal_secret="geheim")


class Stage(NamedTuple):
    """Two apis that have a key in their caches, and a management API whose news do not reach them."""

    apis: tuple[Process, Process]
    client: httpx.AsyncClient
    management: TestClientProtocol
    key: dict[str, Any]

    async def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Manage the key."""
        response = await self.management.open(f"{KEYS}/{self.key['id']}{path}", method=method, json=body, headers=TOKEN)
        assert response.status_code == 200, await response.get_data()
        return await response.get_json()

    async def ask(self, secret: str = "") -> list[tuple[int, str]]:
        """Return how each api answers a chat, and a look at the models."""
        headers = {"authorization": f"Bearer {secret or self.key['key']}"}
        urls = [api.url for api in self.apis]
        replies = [
            *[await self.client.post(f"{url}/v1/chat/completions", json=chat(), headers=headers) for url in urls],
            *[await self.client.get(f"{url}/v1/models", headers=headers) for url in urls],
        ]
        return [(reply.status_code, "" if reply.is_success else reply.json()["error"]["code"]) for reply in replies]


@pytest.fixture
async def stage(
    fleet: Fleet,
    database: Database,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
    eventually: Eventually,
) -> AsyncIterator[Stage]:
    """Yield all of it, after a request at each."""
    apis = (await fleet.api(CLAW_KEY_CACHE_S="3600"), await fleet.api(CLAW_KEY_CACHE_S="3600"))
    await fleet.worker()
    monkeypatch.setattr("api.admission.key_changes.NEWS_CHANNEL", "claw:probe:nobody")
    management = management_app(SETTINGS, database, redis).test_client()
    made = await management.post(KEYS, json={"name": "a", "admin_allowed": True}, headers=TOKEN)
    async with httpx.AsyncClient(timeout=60) as client:
        found = Stage(apis, client, management, await made.get_json())
        for api in apis:
            await ready(api, eventually)
        assert await found.ask() == [(200, "")] * 4
        yield found


async def test_a_secret_that_was_replaced_opens_nothing(stage: Stage) -> None:
    """The other one does; and while it has a time of grace, both do."""
    graced = await stage.call("POST", "/rotate", {"grace_s": 3600})
    assert [await stage.ask(), await stage.ask(graced["key"])] == [[(200, "")] * 4] * 2
    rotated = await stage.call("POST", "/rotate", {"grace_s": 0})
    assert await stage.ask(graced["key"]) == [(401, "key_rotated")] * 4
    assert await stage.ask() == [(401, "key_rotated")] * 4
    assert await stage.ask(rotated["key"]) == [(200, "")] * 4


async def test_a_key_that_was_revoked_opens_nothing(stage: Stage) -> None:
    """At every endpoint."""
    await stage.call("DELETE", "")
    assert await stage.ask() == [(401, "invalid_api_key")] * 4


async def test_an_expiry_holds(stage: Stage) -> None:
    """And limits that are other ones lose no request."""
    await stage.call("PATCH", "", {"tokens_per_minute": 1_000_000, "rpm_limit": 50})
    assert await stage.ask() == [(200, "")] * 4
    await stage.call("PATCH", "", {"expires_at": (datetime.now(UTC) - timedelta(seconds=1)).isoformat()})
    assert await stage.ask() == [(401, "key_expired")] * 4


@pytest.mark.parametrize(
    ("bounds", "code"),
    [
        ({"allowed_models": ["gpt-*"]}, "model_not_allowed"),
        ({"allowed_tiers": ["paid"]}, "tier_not_allowed"),
    ],
)
async def test_bounds_hold(stage: Stage, bounds: dict[str, Any], code: str) -> None:
    """At the first request."""
    await stage.call("PATCH", "", bounds)
    assert [found for _, found in (await stage.ask())[:2]] == [code] * 2


async def test_who_is_no_admin_any_more_manages_nothing(stage: Stage) -> None:
    """Nor does it see the state of the installation."""
    headers = {"authorization": f"Bearer {stage.key['key']}", "x-nself-admin": "true"}
    assert (await stage.client.get(stage.apis[0].url + KEYS, headers=headers)).status_code == 200
    await stage.call("PATCH", "", {"admin_allowed": False})
    for api in stage.apis:
        assert (await stage.client.get(api.url + KEYS, headers=headers)).status_code == 403
        reply = await stage.client.post(f"{api.url}/v1/chat/completions", json=chat(), headers=headers)
        assert (reply.status_code, reply.json()["error"]["code"]) == (403, "admin_not_allowed")


async def test_a_database_that_was_restored_to_before_a_change_counts(
    stage: Stage, fleet: Fleet, database: Database, eventually: Eventually
) -> None:
    """Its keys go on as they were then, though Redis has noted the change for a week; the next one holds as ever."""
    of_before = (await database.fetch("SELECT rpm_limit, revision FROM np_claw_api_keys"))[0]
    for limit in (500, 600):
        await stage.call("PATCH", "", {"rpm_limit": limit})
        assert await stage.ask() == [(200, "")] * 4
    await database.execute("UPDATE np_claw_api_keys SET rpm_limit = $1, revision = $2", *of_before.values())
    later = await fleet.api()
    await ready(later, eventually)
    with_it = stage._replace(apis=(later, stage.apis[0]))
    for _ in range(2):
        assert await with_it.ask() == [(200, "")] * 4
    assert later.log.read_text().count("has an older state of key") == 1
    await stage.call("PATCH", "", {"allowed_tiers": ["paid"]})

    async def holds() -> bool:
        return [found for _, found in (await with_it.ask())[:2]] == ["tier_not_allowed"] * 2

    await eventually(holds)


async def test_a_session_goes_on_over_a_change(stage: Stage) -> None:
    """Its request, which is asked about twice, has it once."""
    session = {"x-nself-session-id": "7d3f9f36-3c1c-4f4e-9d43-7b1f5f8c0a01"}
    headers = {"authorization": f"Bearer {stage.key['key']}", **session}
    for change in ({"rpm_limit": 500}, {"rpm_limit": 600}):
        await stage.call("PATCH", "", change)
        for api in stage.apis:
            reply = await stage.client.post(f"{api.url}/v1/chat/completions", json=chat(), headers=headers)
            assert (reply.status_code, reply.headers["x-ratelimit-limit-requests"]) == (200, str(change["rpm_limit"]))
