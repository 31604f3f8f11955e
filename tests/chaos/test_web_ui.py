"""What the web UI shows while a server is away."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.fleet import PATIENCE_S

if TYPE_CHECKING:
    from cli.up.embedded.valkey import EmbeddedValkey
    from tests.fleet import Process

PASSWORD = "correct horse battery"


@pytest.fixture
def fleet_environment() -> dict[str, str]:
    """Return the password of the web UI."""
    return {"CLAW_WEB_PASSWORD": PASSWORD}


async def test_without_redis_a_page_says_so_and_when_to_come_back(api: Process, valkey: EmbeddedValkey) -> None:
    """Nobody can say whether a session was ended: no page, and no sign-in either, but an answer at once."""
    headers = {"accept": "text/html"}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=PATIENCE_S) as client:

        async def form() -> dict[str, str]:
            shown = await client.get("/ui/sign-in")
            token = re.search(r'name="csrf" value="([0-9a-f]{64})"', shown.text)
            assert token is not None
            return {"csrf": token[1], "password": PASSWORD}

        fields = await form()
        assert (await client.post("/ui/sign-in", data=fields)).status_code == 303
        assert (await client.get("/ui/keys")).status_code == 200
        await valkey.stop()
        page = await client.get("/ui/keys")
        assert (page.status_code, page.headers["retry-after"]) == (503, "2")
        assert "Redis is unavailable" in page.text
        assert "Try again" in page.text
        client.cookies.clear()
        fields = await form()
        refused = await client.post("/ui/sign-in", data=fields)
        assert refused.status_code == 503
        assert "Redis is unavailable" in refused.text
