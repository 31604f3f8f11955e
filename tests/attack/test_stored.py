"""Stored responses and conversations: reading, writing and refusing them costs nobody else anything."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
import pytest

from shared.postgres.database import Database
from shared.redis import client as redis_client
from tests.attack.bodies import MIB
from tests.attack.meters import holding_nobody
from tests.fleet import PATIENCE_S
from tests.responses import PATH

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

    from tests.conftest import Eventually
    from tests.fleet import Fleet, Process
    from tests.upstreams.numbered import NumberedUpstream

LARGE = "x" * 3 * MIB
AT_ONCE = 12
ITEMS = 5_000
_FILL = """
INSERT INTO np_claw_conversation_items (conversation_id, position, id, item)
SELECT $1, number, 'msg_' || number, json_build_object(
    'type', 'message', 'role', 'user', 'id', 'msg_' || number,
    'content', json_build_array(json_build_object('type', 'input_text', 'text', repeat('x', 3000)))
) FROM generate_series(0, $2 - 1) AS number
"""


@pytest.fixture
def fleet_environment() -> dict[str, str]:
    """Return what lets a key have 20 MiB in the background, and bring 1 MiB a day to its conversations."""
    return {"CLAW_MAX_WAITING_MIB": "40", "CLAW_MAX_CONVERSATIONS_MIB": "1", "CLAW_LOOP_WATCH_S": "0.05"}


@pytest.fixture
async def redis_of_fleet(fleet_redis_url: str) -> AsyncIterator[Redis]:
    """Yield a client of the fleet's Valkey."""
    connected = redis_client.connect(fleet_redis_url)
    yield connected
    await redis_client.close(connected)


def background(text: str = LARGE) -> dict[str, Any]:
    """Return the body of a request for a response of the background."""
    return {"model": "numbered", "input": text, "background": True}


async def traffic(redis: Redis, direction: str) -> int:
    """Return how many bytes Redis has received (`input`) or sent (`output`) so far."""
    return int((await redis.info("stats"))[f"total_net_{direction}_bytes"])


async def test_refused_responses_of_the_background_do_not_travel(
    fleet: Fleet, api: Process, upstream: NumberedUpstream, redis_of_fleet: Redis
) -> None:
    """A key that may ask once a minute sends a dozen large ones at once: Redis sees one of them."""
    upstream.hold_at = 0
    headers = {"authorization": f"Bearer {await fleet.key(rpm_limit=1)}"}
    before = await traffic(redis_of_fleet, "input")
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=PATIENCE_S) as client:
        replies = await asyncio.gather(*(client.post(PATH, json=background()) for _ in range(AT_ONCE)))
    assert sorted(reply.status_code for reply in replies) == [200] + [429] * (AT_ONCE - 1)
    # A script that Redis does not know yet is sent again.
    assert await traffic(redis_of_fleet, "input") - before < 5 * len(LARGE)
    assert len([name async for name in redis_of_fleet.scan_iter("claw:response:open:*")]) == 1


async def test_a_key_has_only_so_many_bytes_in_the_background(
    client: httpx.AsyncClient, upstream: NumberedUpstream, redis_of_fleet: Redis
) -> None:
    """Though a worker has them: half of CLAW_MAX_WAITING_MIB; small ones go on, and who polls is not sent the body."""
    upstream.hold_at = 0
    replies = [await client.post(PATH, json=background()) for _ in range(8)]
    assert [reply.status_code for reply in replies] == [200] * 6 + [429] * 2
    assert replies[-1].json()["error"]["code"] == "too_many_bytes_waiting"
    assert (await client.post(PATH, json=background("a"))).status_code == 200
    before = await traffic(redis_of_fleet, "output")
    response = replies[0].json()["id"]
    polled = await asyncio.gather(*(client.get(f"{PATH}/{response}") for _ in range(AT_ONCE)))
    assert {reply.json()["status"] for reply in polled} <= {"queued", "in_progress"}
    assert {reply.json()["id"] for reply in polled} == {response}
    assert await traffic(redis_of_fleet, "output") - before < len(LARGE)


@pytest.mark.parametrize(
    "asked",
    [
        ("POST", PATH, {"model": "numbered", "input": [{"type": "item_reference", "id": "a\0b"}]}),
        ("DELETE", "/v1/conversations/{0}/items/a%00b", None),
        ("GET", "/v1/conversations/{0}/items/a%00b", None),
        ("GET", "/v1/conversations/{0}/items?after=%00", None),
    ],
    ids=["a reference", "a deletion", "an item", "a page"],
)
async def test_what_postgresql_cannot_hold_is_the_callers_mistake(
    client: httpx.AsyncClient, fleet: Fleet, eventually: Eventually, asked: tuple[str, str, object]
) -> None:
    """An id with a NUL is a 400 or 404, and in the log like all others."""
    conversation = (await client.post("/v1/conversations", json={})).json()["id"]
    method, path, body = asked
    reply = await client.request(method, path.format(conversation), json=body)
    assert reply.status_code in {400, 404}, reply.text

    async def logged() -> bool:
        rows = await fleet.usage("responses", "conversations", "chat")
        return len(rows) == 2 and rows[-1]["status"] == reply.status_code

    await eventually(logged)
    assert all("Traceback" not in process.log.read_text() for process in fleet.processes)


async def test_a_full_conversation_is_read_in_pages(client: httpx.AsyncClient, fleet: Fleet) -> None:
    """A hundred at once who want an item of it get theirs: nobody waits for PostgreSQL, and no loop is held."""
    conversation = (await client.post("/v1/conversations", json={})).json()["id"]
    async with Database(fleet.database_url) as database:
        await database.execute(_FILL, UUID(conversation.removeprefix("conv_")), ITEMS)
    path = f"/v1/conversations/{conversation}/items"

    async def many() -> list[httpx.Response]:
        return await asyncio.gather(*(client.get(path, params={"limit": 1}) for _ in range(100)))

    pages = await holding_nobody(fleet, many)
    assert [page.json().get("last_id") for page in pages] == [f"msg_{ITEMS - 1}"] * len(pages)
    assert (await client.get(f"{path}/msg_7")).json()["id"] == "msg_7"
    for order, after, expected in (("asc", "msg_7", "msg_8"), ("desc", "msg_7", "msg_6"), ("asc", "", "msg_0")):
        page = (await client.get(path, params={"order": order, "limit": 1, "after": after})).json()
        assert ([item["id"] for item in page["data"]], page["has_more"]) == ([expected], True)


async def test_a_key_fills_no_disk_with_conversations(client: httpx.AsyncClient, api: Process, fleet: Fleet) -> None:
    """Its limit counts none of them, so what they bring in a day is bounded; another key's are stored."""
    item = {"role": "user", "content": "x" * 300_000}
    replies = [await client.post("/v1/conversations", json={"items": [item]}) for _ in range(4)]
    assert [reply.status_code for reply in replies] == [200] * 3 + [429]
    assert replies[-1].json()["error"]["code"] == "too_many_bytes_stored"
    assert int(replies[-1].headers["retry-after"]) > 3600
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=PATIENCE_S) as other:
        assert (await other.post("/v1/conversations", json={"items": [item]})).status_code == 200


async def test_only_so_many_follow_a_response(
    client: httpx.AsyncClient, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Each keeps what it does not read in memory; a place is free again as soon as one has left."""
    upstream.hold_at = 3
    response = (await client.post(PATH, json=background("a"))).json()["id"]
    query = {"stream": "true", "starting_after": "0"}

    async def answer() -> httpx.Response:
        return await client.get(f"{PATH}/{response}", params=query)

    async with AsyncExitStack() as following:
        for _ in range(16):
            stream = client.stream("GET", f"{PATH}/{response}", params=query)
            assert (await following.enter_async_context(stream)).status_code == 200
        refused = await answer()
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_followers")
    upstream.resume.set()

    async def is_followed() -> bool:
        return "event: response.completed" in (await answer()).text

    await eventually(is_followed)
