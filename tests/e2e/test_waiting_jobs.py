"""A job that waits in Redis, as an operator sees it."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from arq.connections import ArqRedis
from redis.asyncio import Redis

from tests.e2e.conftest import SLOTS
from tests.upstreams.openai import replies as openai_replies
from tests.upstreams.scripted import sse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from openai import AsyncOpenAI

    from tests.conftest import Eventually
    from tests.e2e.stack import Stack
    from tests.upstreams.scripted import ScriptedUpstream

pytestmark = pytest.mark.xdist_group("scripted")

QUESTION = "Grüße, what is waiting?"
Waiting = tuple[str, str, str]


@pytest.fixture
async def redis_url(scripted: Stack) -> str:
    """Return where `nself claw env` says that Redis is."""
    environment: dict[str, str] = await asyncio.to_thread(scripted.environment)
    return environment["REDIS_URL"]


@asynccontextmanager
async def one_waiting(
    client: AsyncOpenAI, upstream: ScriptedUpstream, redis_url: str, eventually: Eventually
) -> AsyncIterator[Waiting]:
    """Yield a queue, the id of the one job that waits in it while every slot is taken, and the job's text."""
    free = asyncio.Event()

    async def ask(text: str) -> str | None:
        reply = await client.chat.completions.create(model="auto", messages=[{"role": "user", "content": text}])
        return reply.choices[0].message.content

    # A server that failed, in a test before, is asked one thing at a time until it has answered.
    upstream.fallback = sse(openai_replies.text("well"))
    assert await ask("Are you well?") == "well"
    upstream.requests.clear()
    upstream.fallback = sse(free, openai_replies.text("answered"))
    running = [asyncio.ensure_future(ask("running")) for _ in range(SLOTS)]
    await upstream.until(lambda: len(upstream.requests) == SLOTS)
    running.append(asyncio.ensure_future(ask(QUESTION)))
    async with Redis.from_url(redis_url, decode_responses=True) as redis:

        async def found() -> Waiting | None:
            async for key in redis.scan_iter("arq:job:*", count=1000):
                text = await redis.get(key)
                if text is not None and QUESTION in text:
                    queue = next(iter([name async for name in redis.scan_iter("arq:queue:*", _type="ZSET")]))
                    return queue, key.removeprefix("arq:job:"), text
            return None

        try:
            yield await eventually(found)
        finally:
            free.set()
        assert await asyncio.gather(*running) == ["answered"] * (SLOTS + 1)


async def test_a_waiting_job_is_readable_json(
    scripted_client: AsyncOpenAI, upstream: ScriptedUpstream, redis_url: str, eventually: Eventually
) -> None:
    """What `redis-cli get arq:job:...` shows: the request as the client sent it, its key's id, no secret."""
    async with one_waiting(scripted_client, upstream, redis_url, eventually) as (_, job_id, text):
        job: dict[str, Any] = json.loads(text)
    assert job["k"]["body"]["messages"] == [{"role": "user", "content": QUESTION}]
    assert job["k"]["tier"] == "local"
    assert job_id.startswith(job["k"]["request_id"])
    assert "sk-nself" not in text
    assert scripted_client.api_key not in text


async def test_a_waiting_job_is_readable_with_arq_s_own_tools(
    scripted_client: AsyncOpenAI, upstream: ScriptedUpstream, redis_url: str, eventually: Eventually
) -> None:
    """`ArqRedis.queued_jobs` lists it, and only it: what runs has left the queue."""
    async with (
        one_waiting(scripted_client, upstream, redis_url, eventually) as (queue, job_id, _),
        Redis.from_url(redis_url) as redis,
    ):
        arq = ArqRedis(redis.connection_pool, job_deserializer=msgspec.json.decode)
        jobs = await arq.queued_jobs(queue_name=queue)
    assert [(job.job_id, job.function) for job in jobs] == [(job_id, "attempt")]
    assert jobs[0].kwargs["body"]["messages"][0]["content"] == QUESTION
