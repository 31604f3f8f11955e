"""Large bodies that wait, or are refused, take no more of Redis than they may."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx

from shared.redis import client as redis_client
from shared.redis.names import WAITING_BYTES
from tests.fleet import PATIENCE_S, chat, ready

if TYPE_CHECKING:
    from tests.conftest import Eventually
    from tests.fleet import Fleet
    from tests.upstreams.numbered import NumberedUpstream

MIB = 1024 * 1024
BOUNDS = {"CLAW_MAX_BODY_MIB": "2", "CLAW_MAX_WAITING_MIB": "4"}
REFUSED = 30


async def test_one_key_does_not_fill_redis_with_what_waits_nor_with_what_is_refused(
    fleet: Fleet, fleet_redis_url: str, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Of large requests that wait for one slot a key has 2 MiB: beyond it 429; another key's wait, and small ones."""
    api = await fleet.api(**BOUNDS)
    await fleet.worker(CLAW_LOCAL_OPENAI_SLOTS="1")
    await fleet.recorder()
    await ready(api, eventually)
    redis = redis_client.connect(fleet_redis_url)
    large = chat(messages=[{"role": "user", "content": "x" * (900 * 1024)}])
    keys = [{"authorization": f"Bearer {await fleet.key()}"} for _ in range(2)]
    async with httpx.AsyncClient(base_url=api.url, timeout=PATIENCE_S) as client:

        async def ask(body: dict[str, Any], key: int = 0) -> httpx.Response:
            return await client.post("/v1/chat/completions", json=body, headers=keys[key])

        async def waiting() -> int:
            return sum(name[:2] == b"k:" for name in await redis.hkeys(WAITING_BYTES))  # type: ignore[misc]  # redis-py: or awaitable

        async def memory() -> int:
            return int((await redis.info("memory"))["used_memory"])

        async def received() -> int:
            return int((await redis.info("stats"))["total_net_input_bytes"])

        upstream.hold_at = 3
        tasks = [asyncio.create_task(ask(large))]
        await eventually(lambda: upstream.held == 1)
        assert await waiting() == 0, "what runs does not wait"
        before = await memory()
        tasks += [asyncio.create_task(ask(large)) for _ in range(2)]

        async def two_wait() -> bool:
            return bool(await redis.hlen(WAITING_BYTES) == 4)  # type: ignore[misc]  # with the sums of queue and key

        await eventually(two_wait)
        sent = await received()
        refused = [await ask(large) for _ in range(REFUSED)]
        assert {(reply.status_code, reply.json()["error"]["code"]) for reply in refused} == {
            (429, "too_many_bytes_waiting")
        }
        assert await received() - sent < REFUSED * MIB / 10
        assert await memory() - before < 4 * MIB
        tasks += [asyncio.create_task(ask(large, 1)), asyncio.create_task(ask(chat()))]

        async def both_wait() -> bool:
            return await waiting() == 2

        await eventually(both_wait)
        upstream.resume.set()
        assert {(await task).status_code for task in tasks} == {200}
        assert await waiting() == 0
    await redis_client.close(redis)
