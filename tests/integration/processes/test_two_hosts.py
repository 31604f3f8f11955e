"""Two local hosts, with real processes: who is free first serves what waits for either."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import httpx
import pytest

from shared.redis.names import running_key
from tests.fleet import PATIENCE_S, Fleet, ready
from tests.streams import Reader, usage_rows
from tests.upstreams.numbered import NumberedUpstream, words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

    from tests.conftest import Eventually


FIRST, SECOND = "model-of-the-first", "model-of-the-second"


class Hosts(NamedTuple):
    """Both hosts are busy with a stream each, and a third request waits for `waited_for`; `other` could do it too."""

    waited_for: NumberedUpstream
    other: NumberedUpstream
    held: tuple[Reader, Reader]
    third: Reader


@pytest.fixture
async def second() -> AsyncIterator[NumberedUpstream]:
    """Yield the second host, whose model has another name."""
    async with NumberedUpstream() as server:
        server.models = [SECOND]
        yield server


@pytest.fixture
async def client(
    fleet: Fleet, upstream: NumberedUpstream, second: NumberedUpstream, eventually: Eventually
) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of a gateway with two hosts of one slot."""
    upstream.models = [FIRST]
    api = await fleet.api()
    for host in (upstream, second):
        await fleet.worker(CLAW_LOCAL_OPENAI_URL=host.url, CLAW_LOCAL_OPENAI_SLOTS="1")
    await fleet.recorder()
    await ready(api, eventually)
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=60) as opened:

        async def both() -> bool:
            listed = (await opened.get("/v1/models")).json()["data"]
            return {FIRST, SECOND} <= {model["id"] for model in listed}

        await eventually(both)
        yield opened


@pytest.fixture
async def hosts(
    client: httpx.AsyncClient,
    redis: Redis,
    upstream: NumberedUpstream,
    second: NumberedUpstream,
    eventually: Eventually,
) -> Hosts:
    """Two streams are held, and a third request stands in one of the queues."""
    upstream.hold_at = second.hold_at = 1
    held = [Reader(client, model=model) for model in (FIRST, SECOND)]
    await eventually(lambda: upstream.held == second.held == 1)
    third = Reader(client, model="auto")

    async def queue() -> bytes | None:
        found = [name for name in await redis.keys("arq:queue:local:*") if await redis.type(name) == b"zset"]
        return found[0] if found else None

    waits_at = (await eventually(queue)).decode()
    is_first = str(upstream.port) in waits_at
    assert await redis.zcard(running_key(waits_at)) == 1
    hosts = (upstream, second) if is_first else (second, upstream)
    return Hosts(*hosts, (held[0], held[1]), third)


async def test_a_job_is_served_by_whoever_is_free_first(hosts: Hosts, fleet: Fleet, eventually: Eventually) -> None:
    """By the other host's model, while the one that it waited for is still busy; once, and the log says by which."""
    hosts.other.resume.set()
    await asyncio.wait_for(hosts.third.task, PATIENCE_S)
    assert hosts.third.done
    assert hosts.third.content == words(20)
    assert hosts.waited_for.held == 1
    hosts.waited_for.resume.set()
    await asyncio.gather(*(reader.task for reader in hosts.held))
    (row,) = [row for row in await usage_rows(fleet, eventually, 3) if row["asked_model"] == "auto"]
    assert (row["model"], row["attempts"]) == (hosts.other.models[0], 1)
    assert (len(hosts.other.requests), len(hosts.waited_for.requests)) == (2, 1)


async def test_a_host_that_fails_after_it_took_over_is_not_asked_again(
    hosts: Hosts, fleet: Fleet, eventually: Eventually
) -> None:
    """The one that the job waited for first, which was never tried, serves it."""
    hosts.other.failures = [503]
    hosts.other.resume.set()
    await eventually(lambda: len(hosts.other.requests) == 2)
    hosts.waited_for.resume.set()
    await asyncio.wait_for(hosts.third.task, PATIENCE_S)
    assert hosts.third.content == words(20)
    await asyncio.gather(*(reader.task for reader in hosts.held))
    (row,) = [row for row in await usage_rows(fleet, eventually, 3) if row["asked_model"] == "auto"]
    assert (row["model"], row["attempts"]) == (hosts.waited_for.models[0], 2)
    assert (len(hosts.other.requests), len(hosts.waited_for.requests)) == (2, 2)
