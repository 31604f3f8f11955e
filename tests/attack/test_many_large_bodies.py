"""Many large bodies at once hold nobody's event loop, though each of them alone would be quick.

What each has a step for took the sum of all: a worker decoded the jobs of one claim in one round of its loop.
"""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING

import httpx
import pytest

from shared.redis import client as redis_client
from shared.redis.names import WAITING_BYTES
from tests.attack.bodies import MIB
from tests.attack.meters import held_loops, loop_bound_s
from tests.fleet import PATIENCE_S, Fleet, Process, chat, ready

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from tests.conftest import Eventually

BODIES = 12
BODY_MIB = 7
TRIES = 5
BODY = json.dumps(chat(messages=[{"role": "user", "content": "x" * BODY_MIB * MIB}])).encode()
SUMS = 2
"""Entries of the waiting bytes beside those of jobs: the queue's and the key's."""


@pytest.fixture
def fleet_environment() -> dict[str, str]:
    """Return what has loops watched, lets a worker stand still for a while, and the bodies of one key wait."""
    return {
        "CLAW_LOOP_WATCH_S": str(loop_bound_s()),
        "CLAW_HEARTBEAT_BOUND_S": "60",
        "CLAW_MAX_WAITING_MIB": str(3 * BODIES * BODY_MIB),
    }


async def all_asked(client: httpx.AsyncClient, worker: Process, redis: Redis, eventually: Eventually) -> None:
    """Send all bodies while the worker stands still, so that it claims them together."""

    async def all_wait() -> bool:
        return int(await redis.hlen(WAITING_BYTES)) == BODIES + SUMS  # type: ignore[misc]

    worker.process.send_signal(signal.SIGSTOP)
    asked = [asyncio.create_task(client.post("/v1/chat/completions", content=BODY)) for _ in range(BODIES)]
    try:
        await eventually(all_wait)
    finally:
        worker.process.send_signal(signal.SIGCONT)
    assert [reply.status_code for reply in await asyncio.gather(*asked)] == [200] * BODIES


async def test_a_worker_that_claims_many_large_bodies_holds_nobody(
    fleet: Fleet, fleet_redis_url: str, eventually: Eventually
) -> None:
    """Nor does the api that takes them; a few times at the most, since on a busy machine the same work takes longer."""
    api, worker = await fleet.api(), await fleet.worker()
    await ready(api, eventually)
    redis = redis_client.connect(fleet_redis_url)
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    async with httpx.AsyncClient(base_url=api.url, timeout=PATIENCE_S, headers=headers) as client:
        for _ in range(TRIES):
            known = len(held_loops(fleet))
            await all_asked(client, worker, redis, eventually)
            if not (held := held_loops(fleet)[known:]):
                break
    await redis_client.close(redis)
    assert held == []
