"""Keys that get another secret, and calls that are sent twice: over the management API and two api processes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from api.admission.auth import Authenticator
from shared.errors import Unauthenticated
from shared.postgres.keys import KEY_START, KeyStore, hash_secret
from shared.redis.client import close, connect
from shared.settings import Settings
from tests.fleet import INTERNAL_SECRET, Fleet, chat, ready
from tests.integration.api.admission.test_key_changes import bearer
from tests.integration.api.manage.gateway_stub import management_app

if TYPE_CHECKING:
    from quart.typing import TestClientProtocol
    from redis.asyncio import Redis

    from shared.postgres.database import Database
    from tests.conftest import Eventually

TOKEN = {"x-internal-token": "geheim"}
KEYS = "/claw/v1/api-keys"
SETTINGS = Settings(data_dir=Path("nowhere"), internal_secret="geheim")


@pytest.fixture
def management(database: Database, redis: Redis) -> TestClientProtocol:
    """Return a client of the management API."""
    opened: TestClientProtocol = management_app(SETTINGS, database, redis).test_client()
    return opened


async def post(client: TestClientProtocol, path: str, body: Any = None) -> tuple[int, Any]:
    """Return the status and the JSON of a call."""
    response = await client.post(path, json={} if body is None else body, headers=TOKEN)
    return response.status_code, await response.get_json()


async def opens(database: Database, secret: str) -> str:
    """Return the id of the key that a secret opens, or the code of the error."""
    try:
        principal = await Authenticator(SETTINGS, KeyStore(database)).authenticate(bearer(secret))
    except Unauthenticated as error:
        return error.code or ""
    return principal.key_id or ""


async def test_both_secrets_open_the_key_for_a_time(management: TestClientProtocol, database: Database) -> None:
    """What else is known of it stays; a day where none is given."""
    _, made = await post(management, KEYS, {"name": "a", "rpm_limit": 7, "tokens_per_minute": 900})
    status, rotated = await post(management, f"{KEYS}/{made['id']}/rotate")
    assert status == 200
    assert rotated["key"] != made["key"]
    assert rotated["key"].startswith(rotated["key_prefix"])
    same = {"id", "name", "rpm_limit", "tokens_per_minute", "created_at", "is_active"}
    assert {name: rotated[name] for name in same} == {name: made[name] for name in same}
    until = datetime.fromisoformat(rotated["old_key_valid_until"]) - datetime.now(UTC)
    assert timedelta(hours=23) < until <= timedelta(days=1)
    assert [await opens(database, each["key"]) for each in (made, rotated)] == [made["id"]] * 2


@pytest.mark.parametrize("is_rotated_again", [False, True])
async def test_a_secret_whose_time_is_over_has_an_error_of_its_own(
    management: TestClientProtocol, database: Database, *, is_rotated_again: bool
) -> None:
    """At once without grace, and as soon as another rotation takes its place."""
    _, made = await post(management, KEYS, {"name": "a"})
    _, second = await post(management, f"{KEYS}/{made['id']}/rotate", {"grace_s": 3600 if is_rotated_again else 0})
    newest = second
    if is_rotated_again:
        assert await opens(database, made["key"]) == made["id"]
        _, newest = await post(management, f"{KEYS}/{made['id']}/rotate", {"grace_s": 60})
        assert await opens(database, second["key"]) == made["id"]
    else:
        assert second["old_key_valid_until"] is None
    assert await opens(database, made["key"]) == "key_rotated"
    assert await opens(database, newest["key"]) == made["id"]


async def test_a_revoked_key_is_opened_by_none_of_its_secrets(
    management: TestClientProtocol, database: Database
) -> None:
    """Nor rotated."""
    _, made = await post(management, KEYS, {"name": "a"})
    _, rotated = await post(management, f"{KEYS}/{made['id']}/rotate")
    await management.delete(f"{KEYS}/{made['id']}", headers=TOKEN)
    assert [await opens(database, each["key"]) for each in (made, rotated)] == ["invalid_api_key"] * 2
    assert (await post(management, f"{KEYS}/{made['id']}/rotate", {"grace_s": 1}))[0] == 404
    assert (await post(management, f"{KEYS}/{'x' * 9}/rotate"))[0] == 404


@pytest.mark.parametrize("body", [{"grace_s": -1}, {"grace_s": 2_592_001}, {"grace_s": "1h"}, {"grace": 1}])
async def test_a_wrong_grace_is_refused(management: TestClientProtocol, body: Any) -> None:
    """By its name; nothing is rotated."""
    _, made = await post(management, KEYS, {"name": "a"})
    status, answer = await post(management, f"{KEYS}/{made['id']}/rotate", body)
    assert (status, next(iter(body)) in answer["error"]) == (400, True)


async def test_a_call_that_is_sent_twice_makes_one_secret(management: TestClientProtocol, database: Database) -> None:
    """One after the other and at once; with another body it is another call."""
    body = {"name": "twice", "rpm_limit": 5}
    answers = await asyncio.gather(*(post(management, KEYS, body) for _ in range(4)))
    answers.append(await post(management, KEYS, {"rpm_limit": 5, "name": "twice"}))
    assert {status for status, _ in answers} == {201}
    made = answers[0][1]
    assert all(answer == made for _, answer in answers)
    assert len(await KeyStore(database).list()) == 1
    assert (await post(management, KEYS, {**body, "rpm_limit": 6}))[1]["id"] != made["id"]

    rotations = await asyncio.gather(*(post(management, f"{KEYS}/{made['id']}/rotate") for _ in range(4)))
    assert {status for status, _ in rotations} == {200}
    assert {answer["key"] for _, answer in rotations} == {rotations[0][1]["key"]}
    # The secret before the first of them has its time of grace all the same.
    assert [await opens(database, each) for each in (made["key"], rotations[0][1]["key"])] == [made["id"]] * 2


async def test_a_secret_is_not_made_again_once_it_is_of_no_use(
    management: TestClientProtocol, database: Database
) -> None:
    """A key that was revoked is made anew, and a rotation after another one is one."""
    body = {"name": "again"}
    _, first = await post(management, KEYS, body)
    await management.delete(f"{KEYS}/{first['id']}", headers=TOKEN)
    _, second = await post(management, KEYS, body)
    assert second["id"] != first["id"]
    assert (await post(management, KEYS, body))[1] == second

    path = f"{KEYS}/{second['id']}/rotate"
    _, short = await post(management, path, {"grace_s": 60})
    await post(management, path, {"grace_s": 120})
    _, newest = await post(management, path, {"grace_s": 60})
    assert newest["key"] != short["key"]
    assert await opens(database, newest["key"]) == second["id"]
    # Its first secret is one that was taken from it: a key of its own must not be opened by that.
    _, other = await post(management, KEYS, body)
    assert other["id"] != second["id"]
    assert other["key"] not in {first["key"], second["key"]}


async def test_a_dump_of_redis_has_no_usable_key(
    management: TestClientProtocol, database: Database, redis: Redis
) -> None:
    """Neither a secret nor what its hash is made of; and what is there goes away in ten seconds."""
    _, made = await post(management, KEYS, {"name": "a"})
    _, rotated = await post(management, f"{KEYS}/{made['id']}/rotate")
    secrets = [made["key"], rotated["key"]]
    dump = b"".join([name + (await redis.get(name)) async for name in redis.scan_iter("claw:*", _type="string")])
    assert len(await redis.keys("claw:nonce:*")) == 2
    for secret in secrets:
        digits = secret.removeprefix(KEY_START)
        assert await opens(database, secret) == made["id"]
        assert all(part not in dump for part in (digits.encode(), bytes.fromhex(digits), hash_secret(secret)))
    for name in await redis.keys("claw:nonce:*"):
        assert 0 < await redis.pttl(name) <= 10_000
        nonce = await redis.get(name)
        assert await opens(database, KEY_START + nonce.hex()) == "invalid_api_key"


async def test_without_redis_each_call_makes_a_secret(database: Database) -> None:
    """A key can be made, and is another one each time."""
    nobody = connect("redis://127.0.0.1:1")
    client = management_app(SETTINGS, database, nobody).test_client()
    made = [await post(client, KEYS, {"name": "a"}) for _ in range(2)]
    assert [status for status, _ in made] == [201, 201]
    assert made[0][1]["key"] != made[1][1]["key"]
    await close(nobody)


async def test_every_api_learns_of_a_rotation_and_knows_a_repeated_call(fleet: Fleet, eventually: Eventually) -> None:
    """Though both have the key in their caches, for an hour."""
    first, second = [await fleet.api(CLAW_KEY_CACHE_S="3600") for _ in range(2)]
    await fleet.worker()
    for process in (first, second):
        await ready(process, eventually)
    async with httpx.AsyncClient(headers={"x-internal-token": INTERNAL_SECRET}, timeout=60) as client:
        made = [(await client.post(api.url + KEYS, json={"name": "a"})).json() for api in (first, second)]
        assert made[0] == made[1]

        async def ask(secret: str) -> list[tuple[int, str]]:
            headers = {"authorization": f"Bearer {secret}"}
            replies = [
                await client.post(f"{api.url}/v1/chat/completions", json=chat(), headers=headers)
                for api in (first, second)
            ]
            return [(reply.status_code, "" if reply.is_success else reply.json()["error"]["code"]) for reply in replies]

        assert await ask(made[0]["key"]) == [(200, "")] * 2
        path = f"{KEYS}/{made[0]['id']}/rotate"
        rotated = [(await client.post(api.url + path, json={"grace_s": 0})).json() for api in (first, second)]
        assert rotated[0] == rotated[1]

        async def is_over() -> bool:
            return await ask(made[0]["key"]) == [(401, "key_rotated")] * 2

        await eventually(is_over)
        assert await ask(rotated[0]["key"]) == [(200, "")] * 2
