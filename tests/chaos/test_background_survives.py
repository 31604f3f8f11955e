"""Whatever dies of what a background response goes through: it is answered, or has failed, and stands there once."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import httpx
import pytest

from shared.redis import client as redis_client
from tests.fleet import PATIENCE_S, Fleet, Process, ready
from tests.redis_names import immortal
from tests.responses import PATH, events, got, in_background, stored_ids, text_of, until, until_kept, until_stored
from tests.streams import usage_rows
from tests.upstreams.numbered import NumberedUpstream, words

if TYPE_CHECKING:
    from cli.up.embedded.valkey import EmbeddedValkey
    from tests.conftest import Eventually


def of_kind(fleet: Fleet, kind: str) -> list[Process]:
    """Return the processes of a kind."""
    return [process for process in fleet.processes if process.name.startswith(kind)]


async def written(valkey: EmbeddedValkey) -> None:
    """Wait until what Redis has is on its disk: that is written once a second."""
    redis = redis_client.connect(valkey.url())
    await redis.execute_command("WAITAOF", 1, 0, 0)  # type: ignore[no-untyped-call]  # redis-py has no types here
    await redis_client.close(redis)


async def another_api(fleet: Fleet, client: httpx.AsyncClient, eventually: Eventually) -> httpx.AsyncClient:
    """Return a client of a new api process, with the same key."""
    started = await fleet.api()
    await ready(started, eventually)
    return httpx.AsyncClient(base_url=started.url, headers=client.headers, timeout=PATIENCE_S)


async def stored_once(fleet: Fleet, name: str, eventually: Eventually) -> None:
    """Check that it is in PostgreSQL, and nothing else is."""
    await until_stored(fleet, name, eventually)
    assert await stored_ids(fleet) == [name]


async def test_a_response_outlives_all_processes_before_it_begins(
    client: httpx.AsyncClient, fleet: Fleet, valkey: EmbeddedValkey, eventually: Eventually
) -> None:
    """Every api, worker and recorder is killed, and Redis, while it waits; then it is answered."""
    for worker in of_kind(fleet, "local"):
        worker.kill()
    name = await in_background(client)
    await written(valkey)
    for process in fleet.processes:
        process.kill()
    assert valkey.child is not None
    assert valkey.child.pid is not None
    os.kill(valkey.child.pid, signal.SIGKILL)
    await fleet.worker()
    await fleet.recorder()
    async with await another_api(fleet, client, eventually) as asking:
        done = await until(asking, name, "completed", eventually)
        assert text_of(done) == words(40)
        assert (await events(asking, name))[-1]["response"] == done
    await stored_once(fleet, name, eventually)
    (row,) = await usage_rows(fleet, eventually, 1, "responses")
    assert (row["status"], row["completion_tokens"]) == (200, 40)


@pytest.mark.parametrize("begins", [False, True], ids=["before", "after"])
async def test_a_killed_apis_response_goes_on(
    client: httpx.AsyncClient, fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually, *, begins: bool
) -> None:
    """Before it began and in its middle; another process is polled and followed, and misses no event."""
    upstream.hold_at = 7
    if not begins:
        for worker in of_kind(fleet, "local"):
            worker.kill()
    name = await in_background(client)
    seen = []
    if begins:
        await eventually(lambda: upstream.held)
        seen = await events(client, name, most=8)
    of_kind(fleet, "api")[0].kill()
    if not begins:
        await fleet.worker()
    async with await another_api(fleet, client, eventually) as asking:
        upstream.resume.set()
        done = await until(asking, name, "completed", eventually)
        assert text_of(done) == words(40)
        seen += await events(asking, name, after=seen[-1]["sequence_number"] if seen else None)
        assert [event["sequence_number"] for event in seen] == list(range(len(seen)))
    await stored_once(fleet, name, eventually)
    (row,) = await usage_rows(fleet, eventually, 1, "responses")
    assert (row["status"], row["attempts"]) == (200, 1)
    assert len(upstream.requests) == 1


async def test_a_killed_workers_response_has_failed(
    client: httpx.AsyncClient,
    fleet: Fleet,
    upstream: NumberedUpstream,
    valkey: EmbeddedValkey,
    eventually: Eventually,
) -> None:
    """In the middle of its answer: another worker does not begin anew, and whoever follows it is told what had come."""
    upstream.hold_at = 7
    name = await in_background(client)
    await eventually(lambda: upstream.held)
    assert len(await events(client, name, most=8)) == 8
    other = await fleet.worker()
    await eventually(lambda: "serving" in other.log.read_text())
    redis = redis_client.connect(valkey.url())
    await until_kept(redis, words(7), eventually)
    of_kind(fleet, "local")[0].kill()
    failed = await until(client, name, "failed", eventually)
    assert text_of(failed) == words(7)
    assert await immortal(redis) == []
    await redis_client.close(redis)
    assert failed["error"]["code"] == "server_error"
    followed = await events(client, name)
    assert (followed[-1]["type"], followed[-1]["response"]) == ("response.failed", failed)
    assert [event["sequence_number"] for event in followed] == list(range(len(followed)))
    await stored_once(fleet, name, eventually)
    assert await got(client, f"{PATH}/{name}") == failed
    (row,) = await usage_rows(fleet, eventually, 1, "responses")
    assert (row["error_code"], row["attempts"]) == ("worker_lost", 1)
    assert len(upstream.requests) == 1


async def test_a_worker_that_is_killed_before_the_first_token_is_followed_by_another(
    client: httpx.AsyncClient, fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Nothing was said, so the answer begins anew."""
    upstream.hold_at = 0
    name = await in_background(client)
    await eventually(lambda: upstream.held)
    other = await fleet.worker()
    await eventually(lambda: "serving" in other.log.read_text())
    of_kind(fleet, "local")[0].kill()
    upstream.resume.set()
    done = await until(client, name, "completed", eventually)
    assert text_of(done) == words(40)
    await stored_once(fleet, name, eventually)
    (row,) = await usage_rows(fleet, eventually, 1, "responses")
    assert (row["status"], row["attempts"]) == (200, 2)


async def test_a_restart_of_redis_in_the_middle_loses_no_event(
    client: httpx.AsyncClient,
    fleet: Fleet,
    upstream: NumberedUpstream,
    valkey: EmbeddedValkey,
    eventually: Eventually,
) -> None:
    """Also of the second that it had not written yet: the worker has it still."""
    upstream.hold_at = 7
    name = await in_background(client)
    await written(valkey)
    await eventually(lambda: upstream.held)
    assert len(await events(client, name, most=8)) == 8
    assert valkey.child is not None
    assert valkey.child.pid is not None
    os.kill(valkey.child.pid, signal.SIGKILL)
    upstream.resume.set()

    async def is_back() -> bool:
        return (await client.get(f"{PATH}/{name}")).status_code == 200

    await eventually(is_back)
    done = await until(client, name, "completed", eventually)
    assert text_of(done) == words(40)
    followed = await events(client, name)
    assert [event["sequence_number"] for event in followed] == list(range(len(followed)))
    assert followed[-1]["response"] == done
    await stored_once(fleet, name, eventually)
