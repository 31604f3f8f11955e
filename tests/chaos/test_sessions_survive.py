"""Whatever dies in the middle of a session's answer: its turn is stored once, as far as it came."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx
import msgspec
import pytest

from shared.redis import client as redis_client
from tests.fleet import PATIENCE_S, Fleet, Process, ready
from tests.sessions import HEADER, ask, stored, until_stored, user
from tests.streams import Reader, usage_rows
from tests.upstreams.numbered import NumberedUpstream, words

if TYPE_CHECKING:
    from cli.up.embedded.valkey import EmbeddedValkey
    from tests.conftest import Eventually


@pytest.fixture
def fleet_environment() -> dict[str, str]:
    """Return settings by which a dead api is soon judged so: Redis is never away for long here."""
    return {"CLAW_REDIS_OUTAGE_S": "2"}


async def streaming(
    client: httpx.AsyncClient, session: str, upstream: NumberedUpstream, valkey: EmbeddedValkey, eventually: Eventually
) -> Reader:
    """Return a stream of a session that is held at its seventh token, which its worker has kept in Redis."""
    upstream.hold_at = 7
    client.headers[HEADER] = session
    reader = Reader(client, messages=[user("one")])
    await eventually(lambda: reader.content == words(7))
    redis = redis_client.connect(valkey.url())

    async def is_kept() -> bool:
        kept = [await redis.get(name) async for name in redis.scan_iter("claw:answer:*")]
        return [msgspec.json.decode(each)["content"] for each in kept if each] == [words(7)]

    try:
        await eventually(is_kept)
    finally:
        await redis_client.close(redis)
    return reader


async def continues(client: httpx.AsyncClient, session: str, upstream: NumberedUpstream, answer: str) -> None:
    """Check that the next request is given the turn."""
    upstream.resume.set()
    reply = await ask(client, session, user("two"))
    assert reply.status_code == 200, reply.text
    assert [message["content"] for message in upstream.requests[-1]["messages"]] == ["one", answer, "two"]


def of_kind(fleet: Fleet, kind: str) -> Process:
    """Return the first process of a kind."""
    return next(process for process in fleet.processes if process.name.startswith(kind))


async def test_a_killed_workers_answer_is_stored_as_far_as_it_was_kept(
    client: httpx.AsyncClient,
    fleet: Fleet,
    upstream: NumberedUpstream,
    valkey: EmbeddedValkey,
    eventually: Eventually,
) -> None:
    """Its api closes the request, as broken, and the session goes on at another worker."""
    session = str(uuid4())
    reader = await streaming(client, session, upstream, valkey, eventually)
    other = await fleet.worker()
    await eventually(lambda: "serving" in other.log.read_text())
    of_kind(fleet, "local").kill()
    await reader.task
    assert reader.error["code"] == "worker_lost"
    await continues(client, session, upstream, words(7))
    found = await until_stored(fleet, session, 4, eventually)
    assert found[:2] == [("user", "one", "complete"), ("assistant", words(7), "broken")]


async def test_a_killed_apis_answer_is_stored_whole_by_its_worker(
    client: httpx.AsyncClient,
    fleet: Fleet,
    upstream: NumberedUpstream,
    valkey: EmbeddedValkey,
    eventually: Eventually,
) -> None:
    """Nobody hears it any more; another api process goes on with the session."""
    session = str(uuid4())
    reader = await streaming(client, session, upstream, valkey, eventually)
    of_kind(fleet, "api").kill()
    with pytest.raises(httpx.HTTPError):
        await reader.task
    upstream.resume.set()
    found = await until_stored(fleet, session, 2, eventually)
    assert found == [("user", "one", "complete"), ("assistant", words(40), "complete")]
    another = await fleet.api()
    await ready(another, eventually)
    async with httpx.AsyncClient(base_url=another.url, headers=client.headers, timeout=PATIENCE_S) as asking:
        await continues(asking, session, upstream, words(40))
    await until_stored(fleet, session, 4, eventually)


async def test_what_was_kept_is_stored_where_api_and_worker_are_killed(
    client: httpx.AsyncClient,
    fleet: Fleet,
    upstream: NumberedUpstream,
    valkey: EmbeddedValkey,
    eventually: Eventually,
) -> None:
    """A recorder closes the request that nobody can say anything of."""
    session = str(uuid4())
    reader = await streaming(client, session, upstream, valkey, eventually)
    of_kind(fleet, "api").kill()
    of_kind(fleet, "local").kill()
    with pytest.raises(httpx.HTTPError):
        await reader.task
    found = await until_stored(fleet, session, 2, eventually)
    assert found == [("user", "one", "complete"), ("assistant", words(7), "broken")]
    (row,) = await usage_rows(fleet, eventually, 1)
    assert row["error_code"] == "orphaned"


async def test_a_restart_of_redis_in_the_middle_loses_no_turn(
    client: httpx.AsyncClient,
    fleet: Fleet,
    upstream: NumberedUpstream,
    valkey: EmbeddedValkey,
    eventually: Eventually,
) -> None:
    """The stream ends whole, and so does its turn; it stands there once."""
    session = str(uuid4())
    reader = await streaming(client, session, upstream, valkey, eventually)
    # The file that it is restored from is written once a second.
    redis = redis_client.connect(valkey.url())
    await redis.execute_command("WAITAOF", 1, 0, 0)  # type: ignore[no-untyped-call]  # redis-py has no types here
    await redis_client.close(redis)
    assert valkey.child is not None
    assert valkey.child.pid is not None
    os.kill(valkey.child.pid, signal.SIGKILL)
    upstream.resume.set()
    await reader.task
    assert reader.content == words(40)
    found = await until_stored(fleet, session, 2, eventually)
    assert found == [("user", "one", "complete"), ("assistant", words(40), "complete")]
    await continues(client, session, upstream, words(40))
    await until_stored(fleet, session, 4, eventually)


async def test_a_killed_recorders_turns_are_stored_once_by_another(
    client: httpx.AsyncClient, fleet: Fleet, eventually: Eventually
) -> None:
    """Wherever it was: before, in or after its transaction."""
    sessions = [str(uuid4()) for _ in range(20)]

    async def chat_on(session: str) -> None:
        for number in range(3):
            reply = await ask(client, session, user(f"question {number}"))
            assert reply.status_code == 200, reply.text

    asking = asyncio.gather(*map(chat_on, sessions))
    for _ in range(3):
        await fleet.recorder()
        recorders = [process for process in fleet.processes if process.name.startswith("recorder")]
        await eventually(lambda: any_usage(fleet))
        recorders[-2].kill()
    await asking
    for session in sessions:
        found = await until_stored(fleet, session, 6, eventually)
        assert [text for role, text, _ in found if role == "user"] == [f"question {number}" for number in range(3)]
    assert sum([len(await stored(fleet, session)) for session in sessions]) == 6 * len(sessions)


async def any_usage(fleet: Fleet) -> bool:
    """Return whether anything was recorded."""
    return bool(await fleet.usage())
