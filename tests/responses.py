"""Asking for responses, and looking at what is stored of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from shared.postgres.database import Database
from shared.redis.names import kept_response_key
from tests.upstreams.numbered import MODEL

if TYPE_CHECKING:
    import httpx
    from redis.asyncio import Redis

    from tests.conftest import Eventually
    from tests.fleet import Fleet

PATH: Final = "/v1/responses"


async def respond(client: httpx.AsyncClient, given: Any, **fields: Any) -> dict[str, Any]:
    """Return the response of the counting model to an input."""
    reply = await client.post(PATH, json={"model": MODEL, "input": given, **fields})
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


async def got(client: httpx.AsyncClient, path: str, **query: Any) -> dict[str, Any]:
    """Return what a GET answers."""
    reply = await client.get(path, params=query)
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


def text_of(response: dict[str, Any]) -> str:
    """Return what a response says."""
    return "".join(part["text"] for item in response["output"] for part in item.get("content", ()))


def texts(items: list[dict[str, Any]]) -> list[str]:
    """Return what items say."""
    return ["".join(part["text"] for part in item["content"]) for item in items]


async def stored_ids(fleet: Fleet) -> list[str]:
    """Return the ids of the responses in PostgreSQL."""
    async with Database(fleet.database_url) as database:
        rows = await database.fetch("SELECT id FROM np_claw_responses ORDER BY created_at, id")
    return ["resp_" + row["id"].hex for row in rows]


async def until_stored(fleet: Fleet, response_id: str, eventually: Eventually) -> dict[str, Any]:
    """Return the row of a response, once it is there."""
    name = UUID(response_id.removeprefix("resp_"))

    async def row() -> dict[str, Any] | None:
        async with Database(fleet.database_url) as database:
            found = await database.fetchrow("SELECT * FROM np_claw_responses WHERE id = $1", name)
        return None if found is None else dict(found)

    found: dict[str, Any] = await eventually(row)
    return found


async def in_background(client: httpx.AsyncClient, given: Any = "one", **fields: Any) -> str:
    """Return the id of a response of the background that was just asked for."""
    found = await respond(client, given, background=True, **fields)
    assert (found["status"], found["background"], found["output"]) == ("queued", True, [])
    return str(found["id"])


async def until_kept(redis: Redis, text: str, eventually: Eventually) -> None:
    """Wait until a worker has kept so much of the only response that is on its way."""

    async def is_kept() -> bool:
        kept = [key async for key in redis.scan_iter(kept_response_key("*"))]
        bodies = [await redis.hget(key, "b") for key in kept]  # type: ignore[misc]  # redis-py: or awaitable
        return any(text_of(json.loads(body)) == text for body in bodies if body)

    await eventually(is_kept)


async def status_of(client: httpx.AsyncClient, response_id: str) -> str:
    """Return how far a response is."""
    return str((await got(client, f"{PATH}/{response_id}"))["status"])


async def until(client: httpx.AsyncClient, response_id: str, status: str, eventually: Eventually) -> dict[str, Any]:
    """Return a response, once it is so far."""

    async def is_there() -> dict[str, Any] | None:
        found = await got(client, f"{PATH}/{response_id}")
        assert found["status"] in {"queued", "in_progress", status}, found
        return found if found["status"] == status else None

    found: dict[str, Any] = await eventually(is_there)
    return found


async def events(
    client: httpx.AsyncClient, response_id: str, after: int | None = None, most: int | None = None
) -> list[dict[str, Any]]:
    """Return the events of a response from a place on, to the end or as many as are wanted."""
    query = {"stream": "true"} | ({} if after is None else {"starting_after": str(after)})
    found: list[dict[str, Any]] = []
    async with client.stream("GET", f"{PATH}/{response_id}", params=query) as reply:
        assert reply.status_code == 200, await reply.aread()
        async for line in reply.aiter_lines():
            if line.startswith("data: "):
                found.append(json.loads(line.removeprefix("data: ")))
            if most is not None and len(found) >= most:
                break
    return found
