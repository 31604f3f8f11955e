"""A gateway for the browser: an api process, a local worker and a recorder on a scripted model server."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx

from cli.up.embedded.valkey import EmbeddedValkey
from tests.fleet import INTERNAL_SECRET, PATIENCE_S, Fleet, ready
from tests.upstreams.openai.replies import text
from tests.upstreams.scripted import ScriptedUpstream, sse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.conftest import Eventually

PASSWORD = "correct horse battery"


class Site:
    """One gateway.

    Args:
        fleet: its processes.
        url: of its api, without a path.
        upstream: its model server.
    """

    def __init__(self, fleet: Fleet, url: str, upstream: ScriptedUpstream) -> None:
        self.fleet = fleet
        self.url = url
        self.upstream = upstream

    async def manage(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        """Call the management API."""
        async with httpx.AsyncClient(headers={"x-internal-token": INTERNAL_SECRET}, timeout=PATIENCE_S) as client:
            response = await client.request(method, self.url + path, json=body or None)
            assert response.status_code < 300, response.text
            found: dict[str, Any] = response.json()
            return found

    async def status(self, method: str, path: str, **body: Any) -> int:
        """Call the management API for something that it may refuse; return the status."""
        async with httpx.AsyncClient(headers={"x-internal-token": INTERNAL_SECRET}, timeout=PATIENCE_S) as client:
            return (await client.request(method, self.url + path, json=body or None)).status_code

    async def key(self, name: str, **limits: Any) -> tuple[str, str]:
        """Make a key; return its id and its secret."""
        made = await self.manage("POST", "/claw/v1/api-keys", name=name, **limits)
        return made["id"], made["key"]

    async def ask(self, secret: str, question: str = "Hello", **fields: Any) -> str:
        """Ask the model something; return the request's id as its header has it."""
        body = {"model": "auto", "messages": [{"role": "user", "content": question}], **fields}
        headers = {"authorization": f"Bearer {secret}"}
        async with httpx.AsyncClient(headers=headers, timeout=PATIENCE_S) as client:
            response = await client.post(f"{self.url}/v1/chat/completions", json=body)
            return response.headers["x-request-id"]

    async def logged(self, *requests: str) -> None:
        """Wait until requests are in the usage log: who looks at a page waits a second for that, and no longer."""
        async with asyncio.timeout(PATIENCE_S):
            for request in requests:
                while not (await self.manage("GET", f"/claw/v1/usage?request_id={request}"))["usage"]:
                    pass


@asynccontextmanager
async def running(folder: Path, database_url: str, eventually: Eventually, **environment: str) -> AsyncIterator[Site]:
    """Yield a gateway with a Valkey of its own, ready to serve."""
    (folder / "valkey").mkdir()
    async with ScriptedUpstream() as upstream, EmbeddedValkey(folder / "valkey") as redis_url:
        upstream.fallback = sse(text("A", " first", " answer"))
        configured = {
            "CLAW_LOCAL_OPENAI_URL": f"{upstream.url}/v1",
            "CLAW_LOCAL_OPENAI_SLOTS": "4",
            "CLAW_WEB_PASSWORD": PASSWORD,
            **environment,
        }
        async with Fleet(folder, redis_url, database_url, configured) as fleet:
            api = await fleet.api()
            await fleet.worker()
            await fleet.recorder()
            await ready(api, eventually)
            yield Site(fleet, api.url, upstream)
