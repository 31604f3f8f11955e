"""The web UI, used by who was given too little, and by programs."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.fleet import INTERNAL_SECRET, PATIENCE_S, ready

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import Eventually
    from tests.fleet import Fleet, Process

PASSWORD = "correct horse battery"
SESSION = "7a1f9d7e-5a5c-4b39-9d5c-3f1f60f3a111"


@pytest.fixture
def fleet_environment() -> dict[str, str]:
    """Return the password of the web UI."""
    return {"CLAW_WEB_PASSWORD": PASSWORD}


def _token(page: str) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page)
    assert found is not None
    return found[1]


@asynccontextmanager
async def _visitor(api: Process, password: str = PASSWORD) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who has signed in."""
    async with httpx.AsyncClient(base_url=api.url, headers={"accept": "text/html"}, timeout=PATIENCE_S) as client:
        fields = {"csrf": _token((await client.get("/ui/sign-in")).text), "password": password}
        assert (await client.post("/ui/sign-in", data=fields)).status_code == 303
        yield client


async def _manage(api: Process, path: str, **body: Any) -> dict[str, Any]:
    async with httpx.AsyncClient(headers={"x-internal-token": INTERNAL_SECRET}, timeout=PATIENCE_S) as client:
        response = await client.post(api.url + path, json=body)
        assert response.status_code < 300, response.text
        found: dict[str, Any] = response.json()
        return found


async def _ask(visitor: httpx.AsyncClient, model: str = "auto") -> httpx.Response:
    """Ask as the chat's script does."""
    headers = {"accept": "application/json", "x-csrf-token": _token((await visitor.get("/ui/chat")).text)}
    question = {"session_id": SESSION, "text": "Hello", "model": model}
    return await visitor.post("/ui/chat/stream", json=question, headers=headers)


async def test_a_rotated_secret_opens_no_page_any_more(api: Process) -> None:
    """Who signed in with a secret that leaked is out as soon as it is of no use, and not before."""
    made = await _manage(api, "/claw/v1/api-keys", name="operator", admin_allowed=True)
    async with _visitor(api, made["key"]) as visitor:
        second = await _manage(api, f"/claw/v1/api-keys/{made['id']}/rotate", grace_s=3600)
        assert (await visitor.get("/ui/keys")).status_code == 200
        async with _visitor(api, second["key"]) as other:
            await _manage(api, f"/claw/v1/api-keys/{made['id']}/rotate", grace_s=0)
            for each in (visitor, other):
                assert (await each.get("/ui/keys")).status_code == 303


async def test_a_bounded_key_does_not_chat_without_its_bounds(api: Process) -> None:
    """The chat runs under a key of its own, which would be a way around a budget."""
    made = await _manage(api, "/claw/v1/api-keys", name="intern", admin_allowed=True, monthly_budget_usd=1)
    async with _visitor(api, made["key"]) as visitor:
        refused = await _ask(visitor)
        assert refused.status_code == 403
        assert "intern" in refused.json()["error"]
        assert (await visitor.get("/ui/chat")).status_code == 200


async def test_a_script_of_the_chat_gets_its_errors_as_json(api: Process) -> None:
    """Also those of admission, which sees other headers than the script sent."""
    async with _visitor(api) as visitor:
        refused = await _ask(visitor, model="nobody-has-this")
    assert refused.status_code == 404
    assert refused.headers["content-type"] == "application/json"
    assert "nobody-has-this" in refused.json()["error"]


@pytest.mark.switched
@pytest.mark.parametrize("path", ["/ui", "/ui/sign-in", "/ui/keys", "/ui/usage", "/ui/nothing"])
async def test_a_head_is_answered_as_its_get(api: Process, path: str) -> None:
    """Without a body, signed in or not: checks of a site's health ask so."""
    async with _visitor(api) as visitor:
        for is_signed_in in (True, False):
            if not is_signed_in:
                visitor.cookies.clear()
            got = await visitor.get(path)
            head = await visitor.head(path)
            assert (head.status_code, head.content) == (got.status_code, b"")
            assert head.headers.get("location") == got.headers.get("location")


@pytest.mark.switched
@pytest.mark.parametrize("path", ["/ui/live/events", "/ui/usage/download"])
async def test_a_head_of_a_stream_ends(api: Process, path: str) -> None:
    """A stream without an end would hold its connection, and work for nobody."""
    async with (
        _visitor(api) as visitor,
        httpx.AsyncClient(
            base_url=api.url, cookies=visitor.cookies, limits=httpx.Limits(max_connections=1), timeout=PATIENCE_S
        ) as client,
    ):
        for _ in range(2):
            head = await client.head(path)
            assert (head.status_code, head.content) == (200, b"")


FAR = "0001-01-01T00:00:00%2B14:00,00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize("path", [f"/ui/usage?before={FAR}", f"/ui/chat?cursor={FAR}"])
async def test_a_time_that_cannot_be_stored_is_the_callers_mistake(api: Process, path: str) -> None:
    """Before the year 1 in UTC there is none."""
    async with _visitor(api) as visitor:
        assert (await visitor.get(path)).status_code == 400


async def test_a_key_that_expires_after_the_last_year_is_refused_by_name(api: Process) -> None:
    """In UTC it would be the year 10000."""
    async with _visitor(api) as visitor:
        form = (await visitor.get("/ui/keys/new")).text
        once = re.search(r'name="once" value="([0-9a-f]{32})"', form)
        assert once is not None
        fields = {
            "csrf": _token(form), "once": once[1], "name": "late", "rpm_limit": "60", "expires": "at",
            "expires_at": "9999-12-31T23:59:59-14:00",
        }  # fmt: skip
        refused = await visitor.post("/ui/keys/new", data=fields)
        assert refused.status_code == 400
        assert "of the years 1 to 9999" in refused.text


async def test_a_password_that_looks_like_a_key_opens(fleet: Fleet, eventually: Eventually) -> None:
    """Nothing keeps an operator from such a one."""
    api = await fleet.api(CLAW_WEB_PASSWORD="sk-nself-and-horses")
    await fleet.worker()
    await ready(api, eventually)
    async with _visitor(api, "sk-nself-and-horses") as visitor:
        assert (await visitor.get("/ui/keys")).status_code == 200
