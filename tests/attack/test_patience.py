"""Whoever does not want to wait says so, and is told when to come again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.fleet import chat, ready
from tests.streams import usage_rows
from tests.upstreams.numbered import words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import Eventually
    from tests.fleet import Fleet
    from tests.upstreams.numbered import NumberedUpstream


@pytest.fixture
async def busy(
    fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually
) -> AsyncIterator[tuple[httpx.AsyncClient, asyncio.Task[httpx.Response]]]:
    """Yield a client, and what has the only slot until `upstream` goes on."""
    api = await fleet.api()
    await fleet.worker(CLAW_LOCAL_OPENAI_SLOTS="1")
    await fleet.recorder()
    await ready(api, eventually)
    upstream.hold_at = 1
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=60) as client:
        first = asyncio.ensure_future(client.post("/v1/chat/completions", json=chat()))
        await eventually(lambda: upstream.held == 1)
        yield client, first


async def test_a_request_waits_no_longer_than_its_client_wants(
    busy: tuple[httpx.AsyncClient, asyncio.Task[httpx.Response]],
    fleet: Fleet,
    upstream: NumberedUpstream,
    eventually: Eventually,
) -> None:
    """It is 503 with a code of its own and a Retry-After; who says nothing, or has patience, is served in turn."""
    client, first = busy
    patient = [
        asyncio.ensure_future(client.post("/v1/chat/completions", json=chat(), headers=headers))
        for headers in ({}, {"x-nself-max-wait-s": "50"})
    ]
    refused = await client.post("/v1/chat/completions", json=chat(), headers={"x-nself-max-wait-s": "0.5"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "queue_timeout")
    assert 1 <= int(refused.headers["retry-after"]) <= 10
    assert len(upstream.requests) == 1
    upstream.hold_at = None
    upstream.resume.set()
    for answer in await asyncio.gather(first, *patient):
        assert answer.json()["choices"][0]["message"]["content"] == words(upstream.tokens)
    rows = await usage_rows(fleet, eventually, 4)
    assert sorted((row["status"], row["error_code"] or "") for row in rows)[3] == (503, "queue_timeout")


@pytest.mark.parametrize("value", ["soon", "-1", "nan", "inf", "1e9", ""])
async def test_a_patience_that_is_no_number_is_refused_by_name(
    client: httpx.AsyncClient, upstream: NumberedUpstream, value: str
) -> None:
    """A 400, and nothing is asked of a model."""
    reply = await client.post("/v1/chat/completions", json=chat(), headers={"x-nself-max-wait-s": value})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "x-nself-max-wait-s")
    assert not upstream.requests
