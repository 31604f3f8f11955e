"""Gemini accounts through real processes: of the environment, added at run time, cooling down, at their limits."""

from __future__ import annotations

import json
import time
from collections import Counter
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from shared.postgres.database import Database
from shared.redis.names import GEMINI_SEAL, account_key
from shared.sealing import Opener
from tests.clock import quota_day_lasts
from tests.fleet import INTERNAL_SECRET, Fleet, Process
from tests.upstreams.gemini import replies as gemini_replies
from tests.upstreams.scripted import ScriptedUpstream, json_answer, sse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from redis.asyncio import Redis

    from tests.conftest import Eventually
    from tests.upstreams.scripted import Answer, Received


MODEL = "gemini-3.8-flash"
ACCOUNTS = "/ai/gemini/accounts"
TOKEN = {"x-internal-token": INTERNAL_SECRET}
SECRET = "passphrase of the tests"
REFUSED = {**gemini_replies.error(403, "PERMISSION_DENIED", "Your API key was reported as leaked.")}


class ByKey(ScriptedUpstream):
    """Answers each account in its own way, as often as it asks; the others with a text."""

    def __init__(self) -> None:
        super().__init__(models=(MODEL,))
        self.fallback = sse(gemini_replies.text("Hel", "lo"))
        self.by_key: dict[str, Answer] = {}

    def answer_to(self, request: Received) -> Answer:
        """Return the answer to a request; for the connections."""
        answer = super().answer_to(request)
        return self.by_key.get(request.headers["x-goog-api-key"], answer)

    @property
    def keys(self) -> list[str]:
        """Return the credential of each completion so far."""
        return [request.headers["x-goog-api-key"] for request in self.requests]


@pytest.fixture(autouse=True)
async def _one_quota_day() -> None:
    """Let a test begin and end on the same day of Gemini's: what an account has used is told by that."""
    await quota_day_lasts()


@pytest.fixture
async def gemini() -> AsyncIterator[ByKey]:
    """Yield the scripted Gemini API."""
    async with ByKey() as server:
        yield server


class Stage:
    """The api, the scripted Gemini API, and workers between them."""

    def __init__(self, fleet: Fleet, gemini: ByKey, client: httpx.AsyncClient, manage: httpx.AsyncClient) -> None:
        self.fleet = fleet
        self.gemini = gemini
        self.client = client
        self.manage = manage

    async def work(self, **environment: str) -> Process:
        """Start a worker of the Gemini tier."""
        common = {"GEMINI_BASE_URL": self.gemini.url, "CLAW_ENCRYPTION_KEY": SECRET}
        return await self.fleet.worker("gemini", **{**common, **environment})

    async def ask(self) -> httpx.Response:
        """Return one completion by Gemini."""
        body: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}
        return await self.client.post("/v1/chat/completions", json=body)

    async def answers(self) -> bool:
        """Return whether the tier serves now."""
        return (await self.ask()).status_code == 200

    async def is_silent(self) -> bool:
        """Return whether the tier does not serve now."""
        return not await self.answers()

    async def add(self, name: str, api_key: str) -> httpx.Response:
        """Add an account."""
        return await self.manage.post(ACCOUNTS, json={"account_email": name, "api_key": api_key})

    async def accounts(self) -> dict[str, dict[str, Any]]:
        """Return what is shown of the accounts, by name."""
        reply = await self.manage.get(ACCOUNTS)
        assert reply.status_code == 200, reply.text
        return {account["account_email"]: account for account in reply.json()}

    def until(self, name: str, state: str) -> Callable[[], Awaitable[dict[str, Any]]]:
        """Asks for a completion and gives what is shown of an account, once that is in a state."""

        async def look() -> dict[str, Any]:
            await self.ask()
            shown: dict[str, Any] = (await self.accounts()).get(name, {})
            return shown if shown.get("state") == state else {}

        return look


@pytest.fixture
async def stage(fleet: Fleet, gemini: ByKey, api: Process, client: httpx.AsyncClient) -> AsyncIterator[Stage]:
    """Yield no worker of the Gemini tier yet."""
    async with httpx.AsyncClient(base_url=api.url, headers=TOKEN, timeout=60) as manage:
        yield Stage(fleet, gemini, client, manage)


async def everything_in(redis: Redis) -> str:
    """Return all names and values, as text."""
    reads: dict[bytes, tuple[str, *tuple[str, ...]]] = {
        b"string": ("GET",),
        b"hash": ("HGETALL",),
        b"set": ("SMEMBERS",),
        b"zset": ("ZRANGE", "0", "-1"),
        b"stream": ("XRANGE", "-", "+"),
    }
    found: list[object] = []
    for key in await redis.keys("*"):
        command, *rest = reads[await redis.type(key)]
        found += [key, await redis.execute_command(command, key, *rest)]  # type: ignore[no-untyped-call]  # redis-py has no types here
    return repr(found)


async def test_an_account_that_is_added_serves_at_once_and_one_that_is_removed_no_more(
    stage: Stage, redis: Redis, eventually: Eventually
) -> None:
    """Without a restart, from a worker that had none; its key stands nowhere in the clear."""
    early = await stage.add("one@example.com", "AIza-run-time-secret")
    assert (early.status_code, "worker" in early.json()["error"]) == (503, True)
    assert (await stage.ask()).json()["error"]["code"] == "model_not_configured"
    await stage.work()
    await eventually(lambda: redis.exists(GEMINI_SEAL))
    assert (await stage.ask()).json()["error"]["code"] == "model_not_configured", "no account yet"
    made = await stage.add("one@example.com", "AIza-run-time-secret")
    assert made.status_code == 201
    assert "AIza" not in made.text
    await eventually(stage.answers)
    assert set(stage.gemini.keys) == {"AIza-run-time-secret"}
    for _ in range(2):
        assert (await stage.manage.delete(f"{ACCOUNTS}/one@example.com")).status_code == 200
    await eventually(stage.is_silent)
    async with Database(stage.fleet._database_url) as database:
        assert await database.fetch("SELECT 1 FROM np_claw_gemini_accounts") == []
    stored = await everything_in(redis)
    logs = "".join(process.log.read_text() for process in stage.fleet.processes)
    assert "AIza-run-time-secret" not in logs
    assert SECRET not in logs
    assert "AIza-run-time-secret" not in stored


async def test_a_stored_key_can_be_opened_by_the_workers_alone(
    stage: Stage, redis: Redis, eventually: Eventually
) -> None:
    """What is in the database is sealed for the public key that they published."""
    await stage.work()
    await eventually(lambda: redis.exists(GEMINI_SEAL))
    await stage.add("one@example.com", "AIza-run-time-secret")
    async with Database(stage.fleet._database_url) as database:
        row = await database.fetchrow("SELECT sealed_key FROM np_claw_gemini_accounts")
    assert row is not None
    assert b"AIza" not in row["sealed_key"]
    assert Opener(SECRET).open(row["sealed_key"]) == "AIza-run-time-secret"


async def test_every_key_of_the_environment_is_an_account(stage: Stage, eventually: Eventually) -> None:
    """They take turns by what is left of their quotas, and are shown by their variables, without the keys."""
    keys = {"GEMINI_API_KEY": "AIza-1", "GEMINI_FREE_KEY_7": "AIza-7", "GEMINI_FREE_KEY_20": "AIza-1"}
    await stage.work(**keys, GEMINI_FREE_KEY_7_PROJECT="shared")
    await eventually(stage.answers)
    for _ in range(5):
        assert (await stage.ask()).status_code == 200
    assert sorted(stage.gemini.keys) == ["AIza-1"] * 3 + ["AIza-7"] * 3

    async def counted() -> dict[str, dict[str, Any]]:
        shown = await stage.accounts()
        return shown if all(account["tokens_used_today"] == 27 for account in shown.values()) else {}

    shown = await eventually(counted)
    assert list(shown) == ["GEMINI_API_KEY", "GEMINI_FREE_KEY_7"]
    first, second = shown.values()
    assert (first["id"], first["source"], first["project"]) == ("env-GEMINI_API_KEY", "environment", None)
    assert second["project"] == "shared"
    assert first["requests_used_today"] == first["rpm_used_this_minute"] == 3
    (model,) = first["models"]
    assert (model["model"], model["requests_this_minute"], model["requests_per_minute"]) == (MODEL, 3, 10)
    assert (model["prompt_tokens_this_minute"], model["state"]) == (21, "ok")
    assert "AIza" not in json.dumps(shown)
    for method, body in (("DELETE", None), ("PATCH", {"enabled": False})):
        refused = await stage.manage.request(method, f"{ACCOUNTS}/GEMINI_API_KEY", json=body)
        assert (refused.status_code, "GEMINI_API_KEY" in refused.json()["error"]) == (409, True)


async def test_a_refused_credential_is_cooling_down_and_shown_while_the_other_serves(
    stage: Stage, redis: Redis, eventually: Eventually
) -> None:
    """It is asked again when its time has come, without a client's request, and serves when it is accepted."""
    stage.gemini.by_key["AIza-bad"] = json_answer(REFUSED, status=403)
    worker = await stage.work(GEMINI_API_KEY="AIza-bad", GEMINI_FREE_KEY_1="AIza-good")
    shown = await eventually(stage.until("GEMINI_API_KEY", "rejected"))
    assert shown["state_since"] < shown["state_until"]
    assert "refused" in shown["last_error"]
    for _ in range(3):
        assert (await stage.ask()).status_code == 200
    assert stage.gemini.keys.count("AIza-bad") == 1
    assert "env-GEMINI_API_KEY" in worker.log.read_text()
    del stage.gemini.by_key["AIza-bad"]
    await redis.hset(account_key("env-GEMINI_API_KEY"), "until", str(int(time.time() * 1000) - 1))  # type: ignore[misc]  # redis-py: or awaitable
    await redis.publish("claw:news", b"accounts")

    async def well() -> bool:
        return bool((await stage.accounts())["GEMINI_API_KEY"]["state"] == "ok")

    await eventually(well)
    assert stage.gemini.keys.count("AIza-bad") == 1, "found out without a client"
    assert "accepted again" in worker.log.read_text()


async def test_a_daily_quota_that_is_spent_rests_until_midnight_pacific(stage: Stage, eventually: Eventually) -> None:
    """Whatever RetryInfo says; the other account goes on, and the limit that Google names is shown."""
    spent = gemini_replies.quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier")
    stage.gemini.by_key["AIza-spent"] = json_answer(spent, status=429)
    await stage.work(GEMINI_API_KEY="AIza-spent", GEMINI_FREE_KEY_1="AIza-good")
    shown = await eventually(stage.until("GEMINI_API_KEY", "cooling"))
    (model,) = shown["models"]
    assert model["requests_per_day"] == 10
    until, reset = (datetime.fromisoformat(stamp) for stamp in (shown["state_until"], model["day_resets_at"]))
    assert timedelta() <= until - reset < timedelta(seconds=5)
    for _ in range(3):
        assert (await stage.ask()).status_code == 200
    assert stage.gemini.keys.count("AIza-spent") == 1


async def test_what_the_tier_cannot_serve_is_in_the_log_once(
    stage: Stage, redis: Redis, eventually: Eventually
) -> None:
    """A spent quota when the tier closes, by the account's name, and not with every request that it turns away."""
    spent = gemini_replies.quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier")
    stage.gemini.fallback = json_answer(spent, status=429)
    worker = await stage.work()
    await eventually(lambda: redis.exists(GEMINI_SEAL))
    made = [(await stage.add(f"{name}@example.com", f"AIza-{name}")).json() for name in ("one", "two")]
    await eventually(stage.until("two@example.com", "cooling"))
    await eventually(stage.until("one@example.com", "cooling"))
    codes = {reply.status_code for reply in [await stage.ask() for _ in range(20)]}
    assert codes == {429}
    log = worker.log.read_text()
    assert "Throttled" not in log
    assert log.count(f"no account can serve {MODEL} until") == 1
    for account in made:
        assert log.count(f"account {account['account_email']} ({account['id']}): upstream_rate_limited") == 1
    assert "WARNING workers.a" not in log


async def test_the_next_account_serves_the_request_that_the_first_one_could_not(
    stage: Stage, eventually: Eventually
) -> None:
    """A name that is bound to the tier stays in it, and one request goes through its accounts."""
    for key in ("AIza-1", "AIza-2"):
        stage.gemini.by_key[key] = json_answer(gemini_replies.quota("GenerateRequestsPerMinute"), status=429)
    keys = {"GEMINI_API_KEY": "AIza-1", "GEMINI_FREE_KEY_1": "AIza-2", "GEMINI_FREE_KEY_2": "AIza-good"}
    await stage.work(**keys)

    async def served() -> httpx.Response | None:
        reply = await stage.ask()
        return None if reply.status_code == 400 else reply

    replies = [await eventually(served), *[await stage.ask() for _ in range(7)]]
    assert {(reply.status_code, reply.headers["x-nself-tier"]) for reply in replies} == {(200, "gemini")}
    attempts = [int(reply.headers["x-nself-attempts"]) for reply in replies]
    assert sum(attempts) == len(stage.gemini.keys)
    assert sorted(Counter(stage.gemini.keys).values()) in ([1, 1, 8], [1, 8], [8])


async def test_switching_an_account_off_and_giving_it_another_key(
    stage: Stage, redis: Redis, eventually: Eventually
) -> None:
    """Each without a restart; a new key forgets that the old one was refused."""
    stage.gemini.by_key["AIza-bad"] = json_answer(REFUSED, status=403)
    await stage.work()
    await eventually(lambda: redis.exists(GEMINI_SEAL))
    made = (await stage.add("one@example.com", "AIza-bad")).json()
    await eventually(stage.until("one@example.com", "rejected"))
    changed = await stage.manage.patch(f"{ACCOUNTS}/{made['id']}", json={"api_key": "AIza-new", "project": "p"})
    assert (changed.status_code, changed.json()["project"], "AIza" in changed.text) == (200, "p", False)
    await eventually(stage.answers)
    assert stage.gemini.keys[-1] == "AIza-new"
    await stage.manage.patch(f"{ACCOUNTS}/one@example.com", json={"enabled": False})
    await eventually(stage.is_silent)
    await stage.manage.patch(f"{ACCOUNTS}/one@example.com", json={"enabled": True})
    await eventually(stage.answers)


async def test_a_worker_with_another_encryption_key_says_so_and_takes_nothing_over(
    stage: Stage, redis: Redis, eventually: Eventually
) -> None:
    """It cannot open what is stored: the account is shown as sealed only while nobody else can open it."""
    first = await stage.work()
    await eventually(lambda: redis.exists(GEMINI_SEAL))
    seal = await redis.get(GEMINI_SEAL)
    await stage.add("one@example.com", "AIza-1")
    await eventually(stage.answers)
    environment = {"GEMINI_BASE_URL": stage.gemini.url, "CLAW_ENCRYPTION_KEY": "another", "GEMINI_API_KEY": "AIza-env"}
    second = await stage.fleet.worker("gemini", **environment)
    await eventually(lambda: "are sealed for another" in second.log.read_text())
    assert "one@example.com" in second.log.read_text()
    assert await redis.get(GEMINI_SEAL) == seal
    assert (await stage.accounts())["one@example.com"]["state"] == "ok"
    first.terminate()
    await first.process.wait()
    await redis.delete("claw:gemini:accounts")
    await redis.publish("claw:news", b"accounts")

    async def sealed() -> bool:
        shown = await stage.accounts()
        return "GEMINI_API_KEY" in shown and shown["one@example.com"]["state"] == "sealed"

    await eventually(sealed)


async def test_a_worker_without_a_database_uses_the_accounts_of_the_environment(
    stage: Stage, redis: Redis, eventually: Eventually
) -> None:
    """And says so; nothing is sealed for it, since it could not read what is stored."""
    worker = await stage.work(GEMINI_API_KEY="AIza-1", DATABASE_URL="")
    await eventually(stage.answers)
    assert "DATABASE_URL" in worker.log.read_text()
    assert not await redis.exists(GEMINI_SEAL)


async def test_a_worker_that_starts_before_the_schema_is_made_waits_for_it_in_silence(
    tmp_path: Path, redis: Redis, valkey_url: str, empty_database_url: str, eventually: Eventually
) -> None:
    """As at every first start, where all processes come at once: nothing is wrong."""
    async with Fleet(tmp_path, valkey_url, empty_database_url, {}) as fleet:
        worker = await fleet.worker("gemini", CLAW_ENCRYPTION_KEY="00" * 32)
        await eventually(lambda: "idle until one is added" in worker.log.read_text())
        assert not await redis.exists(GEMINI_SEAL)
        await fleet.api()
        # Published once the stored accounts are read.
        await eventually(partial(redis.exists, GEMINI_SEAL))
        assert " ERROR " not in worker.log.read_text()
