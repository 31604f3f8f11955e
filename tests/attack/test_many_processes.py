"""Fifty idle worker processes, of one backend or of fifty: a request costs Valkey what it does with one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from shared.redis import client as redis_client
from shared.redis.names import QUEUES, idle_key
from tests.attack.meters import cost_so_far
from tests.fleet import PATIENCE_S, chat, ready
from tests.upstreams.numbered import NumberedUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

    from tests.attack.meters import Cost
    from tests.conftest import Eventually
    from tests.fleet import Fleet

MANY = 50
REQUESTS = 100
MOST_MORE = 1.5
"""A third more is what the scripts may cost (`test_many_workers.py`). The rest is what each worker says of its own
backend every few seconds, which one that has all requests says for many of them at once."""


@pytest.fixture
async def upstream() -> AsyncIterator[NumberedUpstream]:
    """Yield a server with short answers: what a token costs is not the question."""
    async with NumberedUpstream(tokens=2) as server:
        yield server


@pytest.fixture
def fleet_environment() -> dict[str, str]:
    """Return settings by which nothing that comes with time comes while a test counts."""
    return {"CLAW_HEARTBEAT_S": "600", "CLAW_HEARTBEAT_BOUND_S": "1800", "CLAW_DISCOVERY_INTERVAL_S": "600"}


class Crowd:
    """An api process, and workers that do nothing but wait for its jobs.

    Args:
        fleet: has no process yet.
        redis: theirs.
        eventually: waits.
    """

    def __init__(self, fleet: Fleet, redis: Redis, eventually: Eventually) -> None:
        self._fleet = fleet
        self._redis = redis
        self._eventually = eventually
        self._workers = 0

    async def grow(self, urls: list[str]) -> None:
        """Start a worker for each of these model servers, and wait until all workers are idle."""
        for url in urls:
            self._fleet.start("local", ["tests.attack.woken", "workers", "local"], 0, {"CLAW_LOCAL_OPENAI_URL": url})
        self._workers += len(urls)
        await self._eventually(self._all_idle)

    async def _all_idle(self) -> bool:
        queues: set[bytes] = await self._redis.smembers(QUEUES)  # type: ignore[misc]  # redis-py: or awaitable
        idle: list[int] = [await self._redis.scard(idle_key(queue.decode())) for queue in queues]  # type: ignore[misc]  # redis-py: or awaitable
        return sum(idle) == self._workers

    async def cost(self, client: httpx.AsyncClient) -> Cost:
        """Ask one after the other; return what Valkey did for it, from a request to the last idle worker."""
        await self._redis.config_resetstat()
        for _ in range(REQUESTS):
            assert (await client.post("/v1/chat/completions", json=chat())).status_code == 200
        return await cost_so_far(self._redis)


@pytest.mark.hang_bound_s(600)
@pytest.mark.parametrize("of_one", [True, False], ids=["workers of a backend", "backends"])
async def test_a_request_costs_the_same_with_fifty_processes(
    fleet: Fleet, upstream: NumberedUpstream, fleet_redis_url: str, eventually: Eventually, *, of_one: bool
) -> None:
    """Each request wakes one of them, and admission asks a handful: with all of them it would be many times as much."""
    redis = redis_client.connect(fleet_redis_url)
    address = upstream.url.removesuffix("/v1")
    urls = [upstream.url if of_one else f"{address}/{number}/v1" for number in range(MANY)]
    crowd = Crowd(fleet, redis, eventually)
    api = await fleet.api()
    await crowd.grow(urls[:1])
    await ready(api, eventually)
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=PATIENCE_S) as client:
        await crowd.cost(client)  # what only the first of all requests costs
        one = await crowd.cost(client)
        await crowd.grow(urls[1:])
        many = await crowd.cost(client)
    print(one, many)  # noqa: T201 -- shown where the test fails
    assert many.commands <= MOST_MORE * one.commands
    await redis_client.close(redis)
