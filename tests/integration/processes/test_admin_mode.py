"""Admin mode: a snapshot of the real installation, without secrets, and an entry for each request that is told it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import httpx
import pytest

from shared.postgres.audit import AuditLog
from shared.postgres.database import Database
from tests.fleet import INTERNAL_SECRET, PATIENCE_S, Fleet, Process, chat, ready
from tests.upstreams.scripted import ScriptedUpstream, json_answer

if TYPE_CHECKING:
    from tests.conftest import Eventually
    from tests.upstreams.numbered import NumberedUpstream

TOKEN: Final = {"x-internal-token": INTERNAL_SECRET}
ADMIN: Final = {"x-nself-admin": "true"}


def management(api: Process) -> httpx.AsyncClient:
    """Return a client with the internal token."""
    return httpx.AsyncClient(base_url=api.url, headers=TOKEN, timeout=PATIENCE_S)


async def admin_headers(fleet: Fleet) -> dict[str, str]:
    """Return the headers of a request in admin mode."""
    return ADMIN | {"authorization": f"Bearer {await fleet.key(admin_allowed=True)}"}


async def test_the_snapshot_is_of_this_installation(
    fleet: Fleet, api: Process, client: httpx.AsyncClient, eventually: Eventually
) -> None:
    """Its services, queues, tiers, failures and tables, in the shapes that nSelf's clients read."""
    assert (await client.post("/v1/chat/completions", json=chat(model="nobody"))).status_code == 404

    async def logged() -> list[dict[str, Any]]:
        return await fleet.usage()

    await eventually(logged)
    async with management(api) as asking:
        await asking.post("/claw/admin/refresh")
        status = (await asking.get("/claw/admin/status")).json()
        snapshot = (await asking.get("/claw/admin/context")).json()["snapshot"]
        metrics = (await asking.get("/claw/admin/metrics")).json()
    assert {each["name"]: each["running"] for each in status["services"]} == {
        "api": True,
        "postgres": True,
        "redis": True,
        "recorder": True,
        "worker local": True,
        "worker gemini": False,
        "worker paid": False,
    }
    assert (status["unknown"], status["table_count"]) == ([], len(snapshot["schema"]))
    assert all(status[name] > 0 for name in ("ram_used_gb", "ram_total_gb", "cpu_cores", "disk_total_gb"))
    assert all(0 <= metrics[name] <= 100 for name in ("cpu_percent", "ram_percent", "disk_percent"))
    (queue,) = snapshot["queues"]
    assert (queue["tier"], queue["provider"], queue["waiting"], queue["running"]) == ("local", "openai", 0, 0)
    assert [(each["tier"], each["place_for_auto"], each["models"]) for each in snapshot["tiers"]] == [
        ("local", 1, [chat()["model"]]),
        ("gemini", 2, []),
        ("paid", 3, []),
    ]
    (failure,) = snapshot["failed_last_hour"]
    assert (failure["status"], failure["code"], failure["count"]) == (404, "model_not_found", 1)
    assert snapshot["spend"]["spent_usd"] == 0
    assert snapshot["versions"]["gateway"]
    keys = next(table for table in snapshot["schema"] if table["name"] == "np_claw_api_keys")
    assert "admin_allowed boolean" in keys["columns"]


async def test_it_is_taken_every_five_minutes_at_the_most(
    fleet: Fleet, api: Process, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """The same for every request and every api process, until it is asked for anew."""
    other = await fleet.api()
    await ready(other, eventually)
    headers = await admin_headers(fleet)

    async def told(process: Process) -> str:
        async with httpx.AsyncClient(base_url=process.url, timeout=PATIENCE_S) as asking:
            assert (await asking.post("/v1/chat/completions", json=chat(), headers=headers)).status_code == 200
        return str(upstream.requests[-1]["messages"][0]["content"])

    first = await told(api)
    assert [await told(api), await told(other)] == [first, first]
    async with httpx.AsyncClient(base_url=api.url, timeout=PATIENCE_S) as asking:  # over the Responses API, too
        asked = {"model": chat()["model"], "input": "x", "instructions": "Be kind."}
        reply = await asking.post("/v1/responses", json=asked, headers=headers)
    assert reply.json()["instructions"] == "Be kind."
    assert upstream.requests[-1]["messages"][0]["content"] == f"{first}\n\nBe kind."
    async with management(other) as asking:
        captured_at = (await asking.post("/claw/admin/refresh")).json()["captured_at"]
    anew = await told(api)
    assert anew != first
    assert captured_at in anew


async def test_each_request_in_admin_mode_has_an_entry(
    fleet: Fleet, api: Process, client: httpx.AsyncClient, upstream: NumberedUpstream
) -> None:
    """With the key and the request, not what was said; so has a refresh. A key that may not has none."""
    headers = await admin_headers(fleet)
    reply = await client.post("/v1/chat/completions", json=chat(), headers=headers)
    assert (await client.post("/v1/chat/completions", json=chat(), headers=ADMIN)).status_code == 403
    assert len(upstream.requests) == 1
    async with management(api) as asking:
        await asking.post("/claw/admin/refresh")
        by_token = await asking.post("/v1/chat/completions", json=chat(), headers=ADMIN)
        entries = (await asking.get("/claw/admin/audit-log")).json()["entries"][::-1]
        keys = {key["id"] for key in (await asking.get("/claw/v1/api-keys")).json()["keys"] if key["admin_allowed"]}
    assert [each["operation"] for each in entries] == ["admin_chat", "refresh_snapshot", "admin_chat"]
    assert [each["actor"] for each in entries[1:]] == ["internal", "internal"]
    assert {entries[0]["actor"]} == keys
    assert ["req_" + entries[place]["details"]["request_id"] for place in (0, 2)] == [
        reply.headers["x-request-id"],
        by_token.headers["x-request-id"],
    ]
    assert "count" not in json.dumps(entries)


async def test_without_its_audit_log_nobody_is_told(
    fleet: Fleet, client: httpx.AsyncClient, database_url: str, upstream: NumberedUpstream
) -> None:
    """503, and no model is asked; other requests go on."""
    headers = await admin_headers(fleet)
    async with Database(database_url) as database:
        await database.execute("ALTER TABLE np_claw_audit_log RENAME TO away")
    refused = await client.post("/v1/chat/completions", json=chat(), headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "database_unavailable")
    assert upstream.requests == []
    assert (await client.post("/v1/chat/completions", json=chat())).status_code == 200


@pytest.mark.parametrize(
    ("path", "named"),
    [("db-query", "not built"), ("services/nginx/restart", "not built")],
)
async def test_what_is_not_built_says_so(api: Process, path: str, named: str) -> None:
    """404 with a sentence, to those with the internal token."""
    async with management(api) as asking:
        refused = await asking.post(f"/claw/admin/{path}", json={"session_id": "x", "enabled": True})
    assert (refused.status_code, named in refused.json()["error"]) == (404, True)


PLANTED: Final = "planted5ecret"


async def test_no_secret_is_in_what_admin_mode_tells(
    fleet: Fleet, database_url: str, eventually: Eventually, upstream: NumberedUpstream
) -> None:
    """Planted wherever one can stand: settings, addresses, keys, accounts, names, prompts, answers, errors."""
    parts = urlsplit(database_url)
    assert parts.password
    secret_url = urlunsplit(parts._replace(query=f"{parts.query}&application_name={PLANTED}"))
    async with ScriptedUpstream(models=(f"{PLANTED} model", "sk-" + PLANTED)) as scripted:
        scripted.fallback = json_answer({"error": {"message": PLANTED, "code": f"{PLANTED} !"}}, status=400)
        api = await fleet.api(
            DATABASE_URL=secret_url,
            PLUGIN_INTERNAL_SECRET=f"{PLANTED}-internal",
            CLAW_LOCAL_OPENAI_API_KEY=f"{PLANTED}-local",
            NSELF_CLAW_KEY=f"sk-nself-{PLANTED}",
        )
        scripted.routes[f"/{PLANTED}/v1/models"] = json_answer({"data": [{"id": "quiet"}]})
        await fleet.worker(CLAW_LOCAL_OPENAI_URL=f"{scripted.url}/{PLANTED}/v1", CLAW_LOCAL_OPENAI_API_KEY=PLANTED)
        await fleet.worker(CLAW_LOCAL_OPENAI_URL=f"{scripted.url}/v1", CLAW_LOCAL_OPENAI_API_KEY=PLANTED)
        await fleet.worker("paid", OPENAI_API_KEY=f"sk-{PLANTED}", OPENAI_BASE_URL=upstream.url)
        await fleet.worker(
            "gemini",
            GEMINI_API_KEY=f"AIza{PLANTED}",
            GEMINI_BASE_URL=scripted.url,
            CLAW_ENCRYPTION_KEY=f"{PLANTED}-encryption",
        )
        await fleet.recorder()
        await ready(api, eventually)
        token = {"x-internal-token": f"{PLANTED}-internal"}
        async with httpx.AsyncClient(base_url=api.url, headers=token, timeout=PATIENCE_S) as asking:
            await _plant(asking, eventually, scripted)
            await asking.post("/claw/admin/refresh")
            context = (await asking.get("/claw/admin/context")).text
            shown = context + (await asking.get("/claw/admin/status")).text + (await asking.get("/ready")).text
            audit = (await asking.get("/claw/admin/audit-log")).text
            reply = await asking.post("/v1/chat/completions", json=chat(model="gpt-4.1"), headers=ADMIN)
            assert reply.status_code == 200
        told = json.dumps(upstream.requests[-1])
    assert "(another name)" in context
    for text in (shown, told):
        assert PLANTED not in text
        assert parts.password not in text
    assert f"AIza{PLANTED}" not in audit


async def _plant(asking: httpx.AsyncClient, eventually: Eventually, scripted: ScriptedUpstream) -> None:
    """Put the secret into names, prompts, accounts, requests and errors."""
    await asking.post("/claw/v1/api-keys", json={"name": PLANTED})
    await asking.post("/claw/v1/system-prompts", json={"name": PLANTED, "content": PLANTED})

    async def added() -> bool:
        account = {"account_email": f"{PLANTED}@example.com", "api_key": f"AIza{PLANTED}2", "project": PLANTED}
        return (await asking.post("/ai/gemini/accounts", json=account)).status_code in {201, 409}

    await eventually(added)

    async def offered() -> bool:
        return f"{PLANTED} model" in {one["id"] for one in (await asking.get("/v1/models")).json()["data"]}

    await eventually(offered)
    for model in (f"{PLANTED} model", f"unknown {PLANTED}", "sk-" + PLANTED):
        body = {"model": model, "messages": [{"role": "user", "content": PLANTED}]}
        await asking.post("/v1/chat/completions", json=body)
    assert scripted.requests

    async def failed() -> bool:
        rows = (await asking.get("/claw/v1/usage")).json()["usage"]
        return bool(sum(row["status"] >= 400 for row in rows) >= 3)

    await eventually(failed)


async def test_the_log_is_not_the_callers_to_read(database_url: str, client: httpx.AsyncClient) -> None:
    """A gateway key, an admin's too, opens no URL of the management API."""
    for path in ("status", "metrics", "context", "audit-log"):
        assert (await client.get(f"/claw/admin/{path}")).status_code == 401
    async with Database(database_url) as database:
        assert await AuditLog(database).list(10) == []


async def test_a_session_in_admin_mode_is_told_the_snapshot_too(
    fleet: Fleet, api: Process, upstream: NumberedUpstream
) -> None:
    """Without the header, with an entry in the audit log, until it is out of it or its key is no admin's any more."""
    session = str(uuid4())
    secret = await fleet.key(admin_allowed=True)
    headers = {"authorization": f"Bearer {secret}", "x-nself-session-id": session}

    async with management(api) as asking:

        async def ask() -> httpx.Response:
            return await asking.post("/v1/chat/completions", json=chat(), headers=headers)

        async def set_mode(*, enabled: bool) -> int:
            body = {"session_id": session, "enabled": enabled}
            return (await asking.post("/claw/admin/mode", json=body)).status_code

        def was_told() -> bool:
            return "captured_at" in str(upstream.requests[-1]["messages"][0]["content"])

        assert ((await ask()).status_code, was_told()) == (200, False)
        assert await set_mode(enabled=True) == 200
        assert ((await ask()).status_code, was_told()) == (200, True)
        (entry,) = [
            each
            for each in (await asking.get("/claw/admin/audit-log")).json()["entries"]
            if each["operation"] == "admin_chat"
        ]
        assert entry["details"]["session_id"] == session
        assert await set_mode(enabled=False) == 200
        assert ((await ask()).status_code, was_told()) == (200, False)
        assert await set_mode(enabled=True) == 200
        (key,) = (await asking.get("/claw/v1/api-keys")).json()["keys"]
        await asking.patch(f"/claw/v1/api-keys/{key['id']}", json={"admin_allowed": False})
        refused = await ask()
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "admin_not_allowed")
        assert await set_mode(enabled=True) == 403
        assert await set_mode(enabled=False) == 200
        assert ((await ask()).status_code, was_told()) == (200, False)
