"""The management API of Gemini accounts."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from shared.errors import Rejected, Throttled, Unavailable
from shared.models.catalogue import Quota
from shared.models.quota_day import next_reset
from shared.postgres.database import Database
from shared.postgres.gemini_accounts import GeminiAccountStore, KnownAccount, publish_known
from shared.redis.names import GEMINI_SEAL, breaker_key
from shared.sealing import Opener
from shared.settings import Settings
from tests.clock import quota_day_lasts
from tests.integration.api.manage.gateway_stub import management_app
from workers.accounts.outcome import FailureClass
from workers.accounts.state import AccountCandidate, AccountStateStore, Reservation

if TYPE_CHECKING:
    from quart.typing import TestClientProtocol
    from redis.asyncio import Redis

TOKEN = {"x-internal-token": "geheim"}
PATH = "/ai/gemini/accounts"
OPENER = Opener("a passphrase")
NEW = {"account_email": "one@example.com", "api_key": "AIza-secret"}
MODEL = "gemini-2.5-pro"


@pytest.fixture(autouse=True)
async def _one_quota_day() -> None:
    """Let a test begin and end on the same day of Gemini's: what an account has used is told by that."""
    await quota_day_lasts()


@pytest.fixture
async def client(database: Database, redis: Redis) -> TestClientProtocol:
    """Return a client of the management API; a worker has published its key."""
    await redis.set(GEMINI_SEAL, OPENER.public_key.hex())
    settings = Settings(data_dir=Path("nowhere"), internal_secret="geheim")
    opened: TestClientProtocol = management_app(settings, database, redis).test_client()
    return opened


async def call(client: TestClientProtocol, method: str, path: str = "", **options: Any) -> tuple[int, Any]:
    """Return the status and the body of a reply."""
    response = await client.open(PATH + path, method=method, headers=TOKEN, **options)
    return response.status_code, await response.get_json()


async def test_only_the_internal_token_opens_it(client: TestClientProtocol) -> None:
    """For each of its calls."""
    for method, path in (("GET", ""), ("POST", ""), ("PATCH", "/x"), ("DELETE", "/x")):
        response = await client.open(PATH + path, method=method, json={})
        assert response.status_code == 401


async def test_an_account_is_made_shown_changed_and_removed(client: TestClientProtocol, database: Database) -> None:
    """By id or name; the key is sealed and never shown; limits can be set and taken back."""
    status, made = await call(client, "POST", json={**NEW, "requests_per_day": 20})
    assert (status, made["account_email"], made["source"], made["enabled"]) == (
        201,
        NEW["account_email"],
        "stored",
        True,
    )
    assert (made["requests_per_day"], made["project"]) == (20, None)
    ((row, sealed),) = await GeminiAccountStore(database).credentials()
    assert (row.id, OPENER.open(sealed)) == (made["id"], NEW["api_key"])
    status, (shown,) = await call(client, "GET")
    assert (status, shown["id"], shown["state"], shown["models"]) == (200, made["id"], "untried", [])
    for field in ("tokens_used_today", "requests_used_today", "rpm_used_this_minute"):
        assert shown[field] == 0
    status, changed = await call(
        client, "PATCH", f"/{made['id'].upper()}", json={"project": "p", "requests_per_day": None}
    )
    assert (status, changed["project"], changed["requests_per_day"], changed["enabled"]) == (200, "p", None, True)
    status, changed = await call(
        client, "PATCH", f"/{NEW['account_email']}", json={"enabled": False, "api_key": "AIza-2"}
    )
    assert (status, changed["project"], changed["enabled"]) == (200, "p", False)
    ((_, sealed),) = await GeminiAccountStore(database).credentials()
    assert OPENER.open(sealed) == "AIza-2"
    for name in (NEW["account_email"], made["id"], NEW["account_email"]):
        assert (await call(client, "DELETE", f"/{name}"))[0] == 200
    assert await call(client, "GET") == (200, [])
    assert (await call(client, "DELETE", "/two@example.com"))[0] == 404
    assert (await call(client, "PATCH", f"/{made['id']}", json={}))[0] == 404


async def test_capitals_count_only_where_names_differ_by_them_alone(client: TestClientProtocol) -> None:
    """Else whoever writes a name otherwise means the only one; of two, none is changed or removed by chance."""
    await call(client, "POST", json={**NEW, "account_email": "One@example.com"})
    assert (await call(client, "PATCH", "/ONE@example.com", json={"project": "p"}))[1]["account_email"] == (
        "One@example.com"
    )
    await call(client, "POST", json=NEW)
    status, body = await call(client, "DELETE", "/ONE@example.com")
    assert (status, "One@example.com, one@example.com" in body["error"]) == (409, True)
    assert (await call(client, "DELETE", "/one@example.com"))[1]["account_email"] == "one@example.com"
    assert [account["account_email"] for account in (await call(client, "GET"))[1]] == ["One@example.com"]


async def test_a_name_is_taken_once_and_free_again_after_removal(client: TestClientProtocol) -> None:
    """The second POST says what to do."""
    await call(client, "POST", json=NEW)
    status, body = await call(client, "POST", json={**NEW, "api_key": "another"})
    assert (status, "PATCH" in body["error"]) == (409, True)
    await call(client, "DELETE", f"/{NEW['account_email']}")
    assert (await call(client, "POST", json=NEW))[0] == 201
    assert (await call(client, "DELETE", f"/{NEW['account_email']}"))[0] == 200
    assert await call(client, "GET") == (200, [])


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "account_email"),
        ({"account_email": "a"}, "api_key"),
        ({**NEW, "limit": 3}, "limit"),
        ({**NEW, "account_email": ""}, "account_email"),
        ({**NEW, "account_email": "a b"}, "account_email"),
        ({**NEW, "account_email": "a/b"}, "account_email"),
        ({**NEW, "account_email": "\N{ZERO WIDTH SPACE}"}, "account_email"),
        ({**NEW, "account_email": "a\x00b"}, "account_email"),
        ({**NEW, "account_email": "GEMINI_API_KEY"}, "account_email"),
        ({**NEW, "api_key": "AIza\r\nx-evil: 1"}, "api_key"),
        ({**NEW, "api_key": "AIza-ü"}, "api_key"),
        ({**NEW, "api_key": 7}, "api_key"),
        ({**NEW, "project": ""}, "project"),
        ({**NEW, "requests_per_minute": 0}, "requests_per_minute"),
        ({**NEW, "prompt_tokens_per_minute": 2**31}, "prompt_tokens_per_minute"),
        ({**NEW, "requests_per_day": "9"}, "requests_per_day"),
    ],
)
async def test_a_wrong_field_is_named_and_no_key_quoted(
    client: TestClientProtocol, body: dict[str, Any], named: str
) -> None:
    """400, and nothing is added."""
    status, answer = await call(client, "POST", json=body)
    assert (status, named in answer["error"]) == (400, True)
    assert "AIza" not in answer["error"]
    assert await call(client, "GET") == (200, [])


@pytest.mark.parametrize("body", [{"enabled": None}, {"api_key": None}, {"account_email": "x"}, {"enabled": "yes"}])
async def test_a_wrong_change_is_refused(client: TestClientProtocol, body: dict[str, Any]) -> None:
    """An account cannot be without a key, nor renamed."""
    await call(client, "POST", json=NEW)
    assert (await call(client, "PATCH", f"/{NEW['account_email']}", json=body))[0] == 400


@pytest.mark.parametrize("name", ["env-GEMINI_FREE_KEY_3", "GEMINI_API_KEY"])
async def test_the_environments_accounts_are_changed_there(client: TestClientProtocol, name: str) -> None:
    """409 with the variable's name."""
    for method in ("PATCH", "DELETE"):
        status, body = await call(client, method, f"/{name}", json={})
        assert (status, name.removeprefix("env-") in body["error"]) == (409, True)


async def test_without_a_worker_there_is_nothing_to_seal_for(client: TestClientProtocol, redis: Redis) -> None:
    """503 that says what to do; nothing is stored."""
    await redis.delete(GEMINI_SEAL)
    status, body = await call(client, "POST", json=NEW)
    assert (status, "workers gemini" in body["error"]) == (503, True)
    assert await call(client, "GET") == (200, [])


async def test_postgres_down_is_503(redis: Redis) -> None:
    """Not a crash."""
    settings = Settings(data_dir=Path("nowhere"), internal_secret="geheim")
    await redis.set(GEMINI_SEAL, OPENER.public_key.hex())
    async with Database("postgresql://claw@127.0.0.1:1/claw") as database:
        client = management_app(settings, database, redis).test_client()
        for method, path in (("GET", ""), ("POST", ""), ("PATCH", "/x"), ("DELETE", "/x")):
            assert (await call(client, method, path, json=NEW if method == "POST" else {}))[0] == 503


async def test_use_limits_and_state_are_shown(client: TestClientProtocol, redis: Redis) -> None:
    """Each account's own use, its project's quotas, and what is wrong with it, until when."""
    store = AccountStateStore(redis, "arq:queue:gemini:gemini", probe_s=60, is_counted=True)
    _, made = await call(client, "POST", json={**NEW, "requests_per_minute": 3})
    known = [
        KnownAccount(id="env-GEMINI_API_KEY", account_email="GEMINI_API_KEY", source="environment", scope="key:e",
                     fingerprint="e"),
        KnownAccount(id=made["id"], account_email=NEW["account_email"], source="stored", scope="key:s",
                     fingerprint="s"),
    ]  # fmt: skip
    await publish_known(redis, known)
    environment, stored = (AccountCandidate(one.id, one.scope, one.fingerprint, Quota()) for one in known)
    for account in (environment, stored, stored):
        taken = await store.reserve("take", MODEL, 10, [account])
        assert isinstance(taken, Reservation)
        await store.settle("good", taken, MODEL, account, prompt_tokens=70, all_tokens=75)
    await store.fail(FailureClass("throttled", "minute", 30_000), "", MODEL, stored, Throttled("At its limit."))
    _, (first, second) = await call(client, "GET")
    assert (first["id"], first["source"], first["created_at"], first["state"]) == (
        known[0].id,
        "environment",
        None,
        "ok",
    )
    assert (second["tokens_used_today"], second["requests_used_today"], second["rpm_used_this_minute"]) == (150, 2, 2)
    (model,) = second["models"]
    assert (model["requests_this_minute"], model["requests_per_minute"]) == (2, 3)
    assert (model["prompt_tokens_this_minute"], model["prompt_tokens_per_minute"]) == (140, 250_000)
    assert (model["requests_today"], model["requests_per_day"]) == (2, 20)
    assert datetime.fromisoformat(model["day_resets_at"]) == next_reset(datetime.now(UTC))
    assert (second["state"], second["last_error"], second["state_until"]) == (
        "cooling", "At its limit.", model["state_until"],
    )  # fmt: skip
    for _ in range(5):
        await store.fail(FailureClass("failed"), "", MODEL, environment, Unavailable("Down."))
    _, (first, _) = await call(client, "GET")
    assert (first["state"], first["last_error"]) == ("failing", "Down.")
    await redis.hset(breaker_key(environment.id, MODEL), "until", str(int(time.time() * 1000) - 1))  # type: ignore[misc]  # redis-py: or awaitable
    _, (first, _) = await call(client, "GET")
    assert (first["state"], first["state_until"], first["last_error"]) == ("recovering", None, "Down.")
    await store.fail(FailureClass("rejected"), "", MODEL, environment, Rejected("Refused."))
    _, (first, _) = await call(client, "GET")
    assert (first["state"], first["last_error"], first["state_since"] < first["state_until"]) == (
        "rejected", "Refused.", True,
    )  # fmt: skip
    other = await store.reserve("take", "gemini-2.5-flash", 1, [stored])
    assert isinstance(other, Reservation)
    _, (_, second) = await call(client, "GET")
    assert second["state"] == "ok", "one of its models can be used"


async def test_a_day_that_is_used_up_is_shown_as_cooling(client: TestClientProtocol, redis: Redis) -> None:
    """By our own count, until midnight Pacific."""
    _, made = await call(client, "POST", json={**NEW, "requests_per_day": 1})
    one = KnownAccount(id=made["id"], account_email="x", source="stored", scope="key:s", fingerprint="s")
    await publish_known(redis, [one])
    store = AccountStateStore(redis, "q", probe_s=60, is_counted=True)
    await store.reserve("take", MODEL, 1, [AccountCandidate(one.id, one.scope, "s", Quota())])
    _, (shown,) = await call(client, "GET")
    assert (shown["state"], datetime.fromisoformat(shown["state_until"])) == ("cooling", next_reset(datetime.now(UTC)))


async def test_an_account_that_nobody_can_open_is_shown_as_sealed(client: TestClientProtocol, redis: Redis) -> None:
    """Unless another worker can; what a worker said long ago is not shown any more."""
    _, made = await call(client, "POST", json=NEW)
    one = {"id": made["id"], "account_email": NEW["account_email"], "source": "stored"}
    await publish_known(redis, [KnownAccount(**one, can_open=False)])
    _, (shown,) = await call(client, "GET")
    assert (shown["state"], "set it anew" in shown["last_error"]) == ("sealed", True)
    await publish_known(redis, [KnownAccount(**one)])
    assert (await call(client, "GET"))[1][0]["state"] == "untried"
    gone = b'{"id":"env-GEMINI_API_KEY","account_email":"GEMINI_API_KEY","source":"environment","seen_ms":1}'
    await redis.hset("claw:gemini:accounts", "env-GEMINI_API_KEY", gone)  # type: ignore[misc, arg-type]  # redis-py: or awaitable, and any mapping
    assert [account["id"] for account in (await call(client, "GET"))[1]] == [made["id"]]
