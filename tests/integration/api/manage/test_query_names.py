"""Unknown names in a query string of the management API: refused by name, and what clients send is not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from api.app import ADMINS_URLS, MANAGEMENT_URLS
from tests.fleet import INTERNAL_SECRET, Fleet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import Eventually

ROWS = [
    (method, re.sub("<[^>]+>", "7e57ab1e-0000-4000-8000-000000000001", url))
    for method, url, _ in (*MANAGEMENT_URLS, *ADMINS_URLS)
]


@pytest.fixture
async def client(fleet: Fleet, eventually: Eventually) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of an api that has its schema."""
    api = await fleet.api()
    headers = {"x-internal-token": INTERNAL_SECRET}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=60) as opened:

        async def is_there() -> bool:
            try:
                return (await opened.get("/claw/v1/api-keys")).status_code == 200
            except httpx.TransportError:
                return False

        await eventually(is_there)
        yield opened


async def ask(client: httpx.AsyncClient, method: str, url: str) -> tuple[int, Any]:
    """Return the status and the JSON of a call."""
    response = await client.request(method, url, json=None if method == "GET" else {})
    return response.status_code, response.json()


async def test_every_endpoint_refuses_a_name_that_it_does_not_know(client: httpx.AsyncClient) -> None:
    """What would fail for another reason says that, and what changes something does not begin."""
    for method, url in ROWS:
        plain, _ = await ask(client, method, url) if method == "GET" else (200, None)
        status, answer = await ask(client, method, f"{url}?nonsense=1")
        if plain < 400:
            assert (method, url, status) == (method, url, 400)
            assert "nonsense" in answer["error"]
        else:
            assert status in {plain, 400}, (method, url)
    assert (await ask(client, "GET", "/claw/admin/audit-log"))[1]["entries"] == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("/claw/v1/usage?request_ID=x&limit=1", "'request_ID' is no query parameter of this: did you mean request_id?"),
        ("/claw/v1/usage?keyid=x", "did you mean key_id?"),
        ("/claw/v1/api-keys?al=true", "did you mean all?"),
        ("/claw/v1/budget?month=2026-11", "it takes none."),
        ("/claw/admin/audit-log?entries=1", "it takes before, limit."),
    ],
)
async def test_the_nearest_name_is_said(client: httpx.AsyncClient, url: str, said: str) -> None:
    """Or all of them, where none is near."""
    status, answer = await ask(client, "GET", url)
    assert status == 400
    assert answer["error"].endswith(said)


@pytest.mark.parametrize(
    "url",
    [
        "/claw/admin/context?session_id=e",
        "/claw/admin/context?session_id=&user_id=me",
        "/claw/v1/usage?key_id=",
        "/claw/v1/usage?key_id=internal&request_id=&limit=5&before=2026-11-26T00:00:00Z",
        "/claw/v1/api-keys?all=true",
        "/claw/admin/audit-log?limit=5&before=9",
    ],
)
async def test_what_clients_send_is_taken(client: httpx.AsyncClient, url: str) -> None:
    """Also where it means nothing here."""
    assert (await ask(client, "GET", url))[0] == 200


async def test_nothing_is_told_without_the_token(client: httpx.AsyncClient) -> None:
    """401 comes first."""
    wrong = {"x-internal-token": "wrong"}
    assert (await client.get("/claw/v1/usage?nonsense=1", headers=wrong)).status_code == 401
