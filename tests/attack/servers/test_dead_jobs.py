"""What a dead api process leaves behind takes nothing from the others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import pytest

from shared.redis import client as redis_client
from shared.redis.names import queue_name
from tests.fleet import PATIENCE_S, chat, ready

if TYPE_CHECKING:
    from tests.conftest import Eventually
    from tests.fleet import Fleet
    from tests.upstreams.numbered import NumberedUpstream

MOST = 3


@pytest.fixture
def fleet_environment() -> dict[str, str]:
    """Return settings by which a dead api is soon judged so: Redis is never away for long here."""
    return {"CLAW_REDIS_OUTAGE_S": "2"}


async def test_the_waiting_jobs_of_a_dead_api_keep_nobody_out(
    fleet: Fleet, fleet_redis_url: str, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """They filled the only queue, whose one slot another request has: the next ones wait there all the same."""
    bounds = {"CLAW_MAX_WAITING_JOBS": str(MOST)}
    doomed, other = await fleet.api(**bounds), await fleet.api(**bounds)
    await fleet.worker(CLAW_LOCAL_OPENAI_SLOTS="1")
    await fleet.recorder()
    for api in (doomed, other):
        await ready(api, eventually)
    redis = redis_client.connect(fleet_redis_url)
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    async with (
        httpx.AsyncClient(base_url=doomed.url, headers=headers, timeout=PATIENCE_S) as victim,
        httpx.AsyncClient(base_url=other.url, headers=headers, timeout=PATIENCE_S) as client,
    ):

        async def all_wait() -> bool:
            names = [name async for name in redis.scan_iter(queue_name("local", "*"), _type="zset")]
            return sum([int(await redis.zcard(name)) for name in names]) == MOST

        def ask(through: httpx.AsyncClient) -> asyncio.Task[httpx.Response]:
            return asyncio.create_task(through.post("/v1/chat/completions", json=chat()))

        upstream.hold_at = 3
        running = ask(client)
        await eventually(lambda: upstream.held == 1)
        lost = [ask(victim) for _ in range(MOST)]
        await eventually(all_wait)
        assert (await ask(client)).status_code == 503
        doomed.kill()
        await asyncio.gather(*lost, return_exceptions=True)

        async def is_orphaned() -> bool:
            return [row["error_code"] for row in await fleet.usage()].count("orphaned") == MOST

        await eventually(is_orphaned)
        following = [ask(client) for _ in range(MOST)]
        await eventually(all_wait)
        assert not any(task.done() for task in following)
        upstream.resume.set()
        assert {(await task).status_code for task in (running, *following)} == {200}
    await redis_client.close(redis)
