"""What nSelf's own command lines ask for, as they send it, of real processes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest

from shared.redis.names import USAGE_STREAM
from tests.clock import day_lasts
from tests.fleet import INTERNAL_SECRET, PATIENCE_S, Fleet, Process, chat
from tests.integration.cli.managed import claw
from tests.upstreams.numbered import MODEL, NumberedUpstream, words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

    from tests.conftest import Eventually


ASKED = {"messages": chat()["messages"]}


@pytest.fixture
async def operator(api: Process) -> AsyncIterator[httpx.AsyncClient]:
    """Yield the command line in Bash."""
    headers = {"x-internal-token": INTERNAL_SECRET}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=PATIENCE_S) as opened:
        yield opened


@pytest.fixture
async def admin(fleet: Fleet, api: Process) -> AsyncIterator[httpx.AsyncClient]:
    """Yield the command line in Go, with an admin's key."""
    headers = {"authorization": f"Bearer {await fleet.key(admin_allowed=True)}"}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=PATIENCE_S) as opened:
        yield opened


async def test_a_question_is_answered_counted_and_summed_up(
    operator: httpx.AsyncClient,
    client: httpx.AsyncClient,
    api: Process,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Chat, usage, its summary and the statistics, in the fields that the clients read; by the commands too."""
    await day_lasts()
    answer = await operator.post("/ai/chat", json={"message": "count", "stream": False, "preferred_tier": "local"})
    said = answer.json()
    assert {name: said[name] for name in ("response", "tier_source", "model")} == {
        "response": words(20), "tier_source": "local", "model": MODEL,
    }  # fmt: skip
    assert answer.headers["x-nself-tier"] == "local"
    assert isinstance(said["latency_ms"], int)
    assert (await client.post("/v1/chat/completions", json=chat())).status_code == 200

    async def both_are_recorded() -> bool:
        return len((await operator.get("/ai/usage", params={"period": "all"})).json()) == 2

    await eventually(both_are_recorded)
    for period in ("today", "week", "month", "all"):
        rows = (await operator.get("/ai/usage", params={"period": period})).json()
        assert [(row["tier_source"], row["provider"], row["completion_tokens"]) for row in rows] == [
            ("local", "local", 20)
        ] * 2
        assert {"model", "prompt_tokens", "is_cached", "cost_usd", "created_at"} < set(rows[0])
        summary = (await operator.get("/ai/usage/summary", params={"period": period})).json()
        assert (summary["total_requests"], summary["tier_breakdown"]["local"]) == (2, 2)
    stats = (await operator.get("/ai/stats/summary")).json()
    assert (stats["requests_today"], stats["requests_month"], stats["tokens_today"]) == (2, 2, 46)
    assert (stats["local_requests_pct"], stats["free_gemini_pct"], stats["paid_api_pct"]) == (100, 0, 0)
    assert stats["top_models"] == [{"model": MODEL, "requests": 2}]
    assert {"cost_usd_today", "cost_usd_month", "cache_hit_rate", "savings_usd_month"} < set(stats)
    monkeypatch.setenv("NSELF_CLAW_URL", api.url)
    monkeypatch.setenv("PLUGIN_INTERNAL_SECRET", INTERNAL_SECRET)
    assert f"local/{MODEL}" in (await claw("usage", "--today")).output
    assert json.loads((await claw("usage", "--json")).output) == rows
    assert f"{MODEL}: 2" in (await claw("stats")).output
    assert json.loads((await claw("stats", "--json")).output) == stats


@pytest.mark.parametrize(
    ("path", "body", "names"),
    [
        ("/ai/chat", {}, "message"),
        ("/ai/chat", {"message": ""}, "message"),
        ("/ai/chat", {"message": "a", "preferred_tier": "cloud"}, "preferred_tier"),
        ("/ai/chat", {"message": "a", "stream": True}, "stream"),
        ("/ai/chat", {"message": "a", "model": "nobody-has-it"}, "nobody-has-it"),
        ("/ai/models/local/install", {"auto_select": True, "model": "m"}, "auto"),
    ],
)
async def test_what_cannot_be_meant_is_said(
    operator: httpx.AsyncClient, path: str, body: dict[str, Any], names: str
) -> None:
    """As text, which those clients print."""
    answer = await operator.post(path, json=body)
    assert 400 <= answer.status_code < 500
    assert names in answer.json()["error"]
    assert (await operator.get("/ai/usage?period=year")).status_code == 400


async def test_auto_select_is_auto(operator: httpx.AsyncClient) -> None:
    """Here it finds no Ollama, as `auto` does: it is understood."""
    answers = [await operator.post("/ai/models/local/install", json={name: True}) for name in ("auto", "auto_select")]
    assert {answer.status_code for answer in answers} == {503}
    assert answers[0].json() == answers[1].json()


async def test_a_session_may_have_any_name_and_is_found_again(
    admin: httpx.AsyncClient,
    client: httpx.AsyncClient,
    upstream: NumberedUpstream,
    redis: Redis,
    eventually: Eventually,
) -> None:
    """By name, or as the last one; a model that is not named is `auto`. Another key has another of that name."""
    url, named = "/claw/v1/chat/completions", {"session_id": "my project", "topic": "t", "no_memory": True}
    first = await admin.post(url, json={**ASKED, "metadata": named})
    session = first.headers["x-nself-session-id"]
    assert first.json()["choices"][0]["message"]["content"] == words(20)
    again = await admin.post(url, json={**ASKED, "metadata": {"session_id": "my project", "resume": False}})

    async def is_recorded() -> bool:
        return not await redis.xlen(USAGE_STREAM)

    await eventually(is_recorded)
    resumed = await admin.post(url, json={**ASKED, "metadata": {"resume": True}})
    assert {reply.headers["x-nself-session-id"] for reply in (again, resumed)} == {session}
    assert [len(body["messages"]) for body in upstream.requests] == [1, 3, 5]
    assert all("metadata" not in body for body in upstream.requests)
    other = await client.post(url, json={**ASKED, "metadata": named})
    assert other.headers["x-nself-session-id"] != session
    plain = await admin.post(url, json=ASKED)
    assert "x-nself-session-id" not in plain.headers
    new = str(uuid4())
    own = await admin.post(url, json={**ASKED, "metadata": {"session_id": new}})
    assert own.headers["x-nself-session-id"] == new
    state = (await admin.get("/claw/health")).json()
    assert {name: state[name] for name in ("status", "model", "memory_count", "topic_count")} == {
        "status": "ok", "model": MODEL, "memory_count": 0, "topic_count": 0,
    }  # fmt: skip
    assert state["version"]


async def test_it_streams_and_fails_as_openais_do(client: httpx.AsyncClient, api: Process) -> None:
    """The reader of that command line wants `data: ` and one line an event."""
    async with client.stream("POST", "/claw/v1/chat/completions", json={**ASKED, "stream": True}) as reply:
        lines = [line async for line in reply.aiter_lines() if line and not line.startswith(":")]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    wrong = await client.post("/claw/v1/chat/completions", json={**ASKED, "metadata": {"resume": 7}})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "metadata.resume")
    async with httpx.AsyncClient(base_url=api.url, timeout=PATIENCE_S) as nobody:
        refused = await nobody.post("/claw/v1/chat/completions", json=ASKED)
        assert (refused.status_code, refused.json()["error"]["type"]) == (401, "invalid_request_error")
        assert (await nobody.get("/claw/health")).status_code == 401


async def test_an_admins_key_manages_keys_and_no_more(
    admin: httpx.AsyncClient, client: httpx.AsyncClient, operator: httpx.AsyncClient, redis: Redis
) -> None:
    """A call that is sent twice makes one key; the audit log knows whose it was. Redis has no usable key."""
    made = [await admin.post("/claw/v1/api-keys", json={"name": "mine"}) for _ in range(2)]
    assert [answer.status_code for answer in made] == [201, 201]
    assert made[0].json() == made[1].json()
    assert {"id", "key"} < set(made[0].json())
    listed = (await admin.get("/claw/v1/api-keys")).json()["keys"]
    assert [key["name"] for key in listed].count("mine") == 1
    dump = [name + (await redis.dump(name) or b"") async for name in redis.scan_iter()]
    assert not any(made[0].json()["key"].encode() in each for each in dump)
    path = f"/claw/v1/api-keys/{made[0].json()['id']}"
    assert [(await admin.delete(path)).status_code for _ in range(2)] == [200, 200]
    entries = (await operator.get("/claw/admin/audit-log")).json()["entries"]
    admins_id = next(key["id"] for key in listed if key["admin_allowed"])
    assert {entry["actor"] for entry in entries if entry["operation"] in {"create_key", "revoke_key"}} == {admins_id}
    for refused in (
        await client.get("/claw/v1/api-keys"),
        await client.post("/claw/v1/api-keys", json={"name": "x"}),
        await admin.post("/claw/v1/api-keys", json={"name": "x", "admin_allowed": True}),
    ):
        assert (refused.status_code, isinstance(refused.json()["error"], str)) == (403, True)
    assert (await admin.patch(path, json={"name": "y"})).status_code == 401
    assert (await admin.get("/claw/v1/usage")).status_code == 401


async def test_an_admins_key_with_a_budget_makes_no_key_without_one(operator: httpx.AsyncClient, api: Process) -> None:
    """Nor does one that was revoked make any."""
    wanted = {"name": "bounded", "admin_allowed": True, "monthly_budget_usd": 1}
    key = (await operator.post("/claw/v1/api-keys", json=wanted)).json()
    headers = {"authorization": f"Bearer {key['key']}"}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=PATIENCE_S) as bounded:
        assert (await bounded.get("/claw/v1/api-keys")).status_code == 200
        assert (await bounded.post("/claw/v1/api-keys", json={"name": "free"})).status_code == 403
        assert (await bounded.delete(f"/claw/v1/api-keys/{key['id']}")).status_code == 200
        assert (await bounded.get("/claw/v1/api-keys")).status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "/claw/memories", "/claw/topics/search", "/claw/setup/status", "/claw/playbooks", "/claw/voice/settings",
        "/claw/proactive/jobs", "/claw/v1/messages", "/claw/v1/config", "/claw/oauth/google/start", "/ai/transcribe",
        "/accounts", "/credentials/test",
    ],
)  # fmt: skip
async def test_what_is_not_ours_is_a_404_that_says_so(api: Process, path: str) -> None:
    """In JSON, since those clients read it as such; with or without a credential."""
    async with httpx.AsyncClient(base_url=api.url, timeout=PATIENCE_S) as nobody:
        answer = await nobody.get(path)
        bootstrap = await nobody.post("/claw/v1/api-keys/bootstrap", json={"name": "x", "owner_email": "a@b.c"})
    assert answer.status_code == 404
    assert "compatibility" in json.dumps(answer.json()["error"])
    assert (bootstrap.status_code, isinstance(bootstrap.json()["error"], str)) == (403, True)
