"""Sessions whose messages are many, or odd."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import httpx

from shared.redis.names import REJECTED_USAGE_STREAM, turns_key
from tests.fleet import PATIENCE_S, ready
from tests.sessions import HEADER, PATH, ask, until_stored, user

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from tests.conftest import Eventually
    from tests.fleet import Fleet
    from tests.upstreams.numbered import NumberedUpstream

DEPTHS = range(800, 1000, 5)
"""Around where Python reads no deeper: where that is depends on who reads."""


def nested(depth: int, text: str) -> str:
    """Return a body with a message that has a field of lists in lists."""
    message = f'{{"role":"user","content":"{text}","odd":{"[" * depth}{"]" * depth}}}'
    return f'{{"model":"auto","messages":[{message}]}}'


async def test_messages_that_are_nested_deeply_harm_nobody(
    fleet: Fleet, client: httpx.AsyncClient, upstream: NumberedUpstream, redis: Redis, eventually: Eventually
) -> None:
    """They are kept, or refused by name; others' turns are stored as ever."""
    assert upstream.requests == []
    statuses = set()
    # A large one is read in a thread, which may read deeper than the recorder.
    for text in ("small", "large" * 20_000):
        for depth in DEPTHS:
            session = str(uuid4())
            for body in (nested(depth, text), nested(1, "again")):
                reply = await client.post(PATH, content=body, headers={HEADER: session})
                statuses.add(reply.status_code)
                if reply.status_code == 400:
                    assert reply.json()["error"]["code"] == "invalid_json"
    assert statuses == {200, 400}
    session = str(uuid4())
    assert (await ask(client, session, user("one"))).status_code == 200
    await until_stored(fleet, session, 2, eventually)
    assert not await redis.exists(REJECTED_USAGE_STREAM)


async def test_a_turn_of_thousands_of_messages_is_refused(client: httpx.AsyncClient) -> None:
    """However short they are: each costs every later request its time."""
    reply = await ask(client, str(uuid4()), *(user("a") for _ in range(5_001)))
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["param"]) == (400, "session_turn_too_large", "messages")


async def test_a_session_that_nobody_stores_is_bounded(fleet: Fleet, redis: Redis, eventually: Eventually) -> None:
    """Its turns would fill Redis, and each of its requests would bring all of them; others go on."""
    api = await fleet.api()
    await fleet.worker()
    await ready(api, eventually)
    session, another = str(uuid4()), str(uuid4())
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=PATIENCE_S) as client:
        assert (await ask(client, session, user("one"))).status_code == 200
        for _ in range(17):
            await redis.rpush(turns_key(session), b"x" * 1024 * 1024)  # type: ignore[misc]  # redis-py: or awaitable
        refused = await ask(client, session, user("two"))
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "session_not_stored")
        assert int(refused.headers["retry-after"]) >= 1
        assert (await ask(client, another, user("one"))).status_code == 200
        await redis.ltrim(turns_key(session), 0, 0)  # type: ignore[misc]  # redis-py: or awaitable
        await fleet.recorder()
        assert (await ask(client, session, user("two"))).status_code == 200
    await until_stored(fleet, session, 4, eventually)
