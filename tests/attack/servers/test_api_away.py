"""An api process that is away for a while is not dead, and what it delivers afterwards is logged and paid for."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest

from cli.up.ports import free_port
from shared.models.catalogue import nano_usd
from shared.redis import client as redis_client
from shared.redis.names import API_SET, api_key
from tests.clock import day_lasts
from tests.fleet import INTERNAL_SECRET, PATIENCE_S, ready
from tests.redis_servers import Proxy
from tests.streams import Reader, usage_rows
from tests.upstreams.numbered import words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

    from tests.conftest import Eventually
    from tests.fleet import Fleet, Process
    from tests.upstreams.numbered import NumberedUpstream

MODEL = "gpt-4.1"
STREAMS = 3
SOON = {"CLAW_REDIS_OUTAGE_S": "5"}
"""Sooner than by default, and long enough for an api that goes on to subscribe anew on a busy machine."""


@pytest.fixture
async def redis(fleet_redis_url: str) -> AsyncIterator[Redis]:
    """Yield a client of the fleet's Valkey."""
    client = redis_client.connect(fleet_redis_url)
    yield client
    await redis_client.close(client)


async def start(fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually, **environment: str) -> Process:
    """Start a gateway with a budget and a paid worker only; variables are the api's."""
    await day_lasts()
    upstream.models = [MODEL]
    api = await fleet.api(PLUGIN_AI_MONTHLY_BUDGET_USD="1", **environment)
    await fleet.worker("paid", OPENAI_API_KEY="sk-test", OPENAI_BASE_URL=upstream.url)
    await fleet.recorder()
    await ready(api, eventually)
    return api


async def held_streams(client: httpx.AsyncClient, upstream: NumberedUpstream, eventually: Eventually) -> list[Reader]:
    """Begin streams whose upstream waits in the middle."""
    upstream.hold_at = 7
    readers = [Reader(client, model=MODEL, max_tokens=100) for _ in range(STREAMS)]
    await eventually(lambda: all(reader.content == words(7) for reader in readers))
    return readers


async def client_of(fleet: Fleet, api: Process) -> httpx.AsyncClient:
    """Return a client with a key."""
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    return httpx.AsyncClient(base_url=api.url, headers=headers, timeout=PATIENCE_S)


async def assert_delivered_logged_and_paid(
    readers: list[Reader], fleet: Fleet, api: Process, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Check that streams are whole, their rows say so, and sum up to what was spent; nothing was made twice."""
    await asyncio.gather(*(reader.task for reader in readers))
    assert [reader.content for reader in readers] == [words(upstream.tokens)] * len(readers)
    assert all(reader.done for reader in readers)

    async def logged() -> bool:
        rows = await fleet.usage()
        return {(row["status"], row["completion_tokens"]) for row in rows} == {(200, upstream.tokens)}

    await eventually(logged)
    rows = await usage_rows(fleet, eventually, len(readers))
    spent = sum(nano_usd(float(row["cost_usd"])) for row in rows)
    assert spent > 0

    async def paid() -> bool:
        async with httpx.AsyncClient(
            base_url=api.url, headers={"x-internal-token": INTERNAL_SECRET}, timeout=PATIENCE_S
        ) as asking:
            shown: dict[str, Any] = (await asking.get("/claw/v1/budget")).json()
        return bool(nano_usd(shown["spent_usd"]) == spent and shown["held_usd"] == 0)

    await eventually(paid)
    assert len(upstream.requests) == len(readers)


@pytest.fixture
def fleet_environment(request: pytest.FixtureRequest) -> dict[str, str]:
    """Return the bounds of the test."""
    return SOON if "judged" in request.node.name else {}


async def test_what_was_judged_dead_and_is_not_is_logged_as_it_ended(
    fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Stopped until its requests are in the log as orphaned and what they reserved is spent; then it goes on."""
    api = await start(fleet, upstream, eventually)
    async with await client_of(fleet, api) as client:
        readers = await held_streams(client, upstream, eventually)
        api.process.send_signal(signal.SIGSTOP)
        try:
            rows = await usage_rows(fleet, eventually, STREAMS)
        finally:
            api.process.send_signal(signal.SIGCONT)
        assert {(row["status"], row["error_code"]) for row in rows} == {(499, "orphaned")}
        assert all(row["cost_usd"] > 0 for row in rows), "what was reserved may have been spent"
        upstream.resume.set()
        await assert_delivered_logged_and_paid(readers, fleet, api, upstream, eventually)


async def test_what_was_judged_dead_is_logged_as_it_ended_while_its_api_is_still_away(
    fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Its workers know how it ended, and say so after the recorder."""
    api = await start(fleet, upstream, eventually)
    async with await client_of(fleet, api) as client:
        readers = await held_streams(client, upstream, eventually)
        api.process.send_signal(signal.SIGSTOP)
        try:
            await usage_rows(fleet, eventually, STREAMS)
            upstream.resume.set()
            await eventually(lambda: upstream.completed == STREAMS)
        finally:
            api.process.send_signal(signal.SIGCONT)
        await assert_delivered_logged_and_paid(readers, fleet, api, upstream, eventually)


async def test_an_api_that_is_cut_off_for_less_than_it_can_bear_loses_no_stream(
    fleet: Fleet, upstream: NumberedUpstream, redis: Redis, fleet_redis_url: str, eventually: Eventually
) -> None:
    """Nobody hears what its workers send, for longer than a worker may be silent: none of them ends it."""
    address = urlsplit(fleet_redis_url)
    async with Proxy(address.port or 0) as proxy:
        through = address._replace(netloc=address.netloc.replace(f":{address.port}", f":{proxy.port}")).geturl()
        api = await start(fleet, upstream, eventually, REDIS_URL=through)
        async with await client_of(fleet, api) as client:
            readers = await held_streams(client, upstream, eventually)
            (api_id,) = await redis.smembers(API_SET)  # type: ignore[misc]  # redis-py: or awaitable
            proxy.behind = free_port()
            proxy.cut()
            await redis.set("later", b"1", px=5000)

            async def is_later() -> bool:
                return not await redis.exists("later", api_key(api_id.decode()))

            await eventually(is_later)
            proxy.behind = address.port or 0
            upstream.resume.set()
            await assert_delivered_logged_and_paid(readers, fleet, api, upstream, eventually)


async def test_what_is_answered_while_redis_loses_its_data_is_logged_and_paid_for(
    fleet: Fleet, upstream: NumberedUpstream, redis: Redis, eventually: Eventually
) -> None:
    """FLUSHALL in the middle of streams: nothing is known of them any more but by their worker."""
    api = await start(fleet, upstream, eventually)
    async with await client_of(fleet, api) as client:
        readers = await held_streams(client, upstream, eventually)
        await redis.flushall()
        upstream.resume.set()
        await assert_delivered_logged_and_paid(readers, fleet, api, upstream, eventually)
