"""A fail-over that only moves an address: old connections stay with a master that has become a replica."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.fleet import Fleet, chat, ready
from tests.redis_servers import Pair
from tests.streams import Reader
from tests.upstreams.numbered import NumberedUpstream, words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.conftest import Eventually

pytestmark = pytest.mark.switched


@pytest.fixture
async def pair(tmp_path: Path, eventually: Eventually) -> AsyncIterator[Pair]:
    """Yield both in sync."""
    async with Pair(tmp_path, eventually) as pair:
        yield pair


async def test_every_process_follows_the_address_to_the_new_master(
    tmp_path: Path, pair: Pair, database_url: str, eventually: Eventually
) -> None:
    """Streams in flight go on whole, new requests are served, and nothing stays with the old master, twice over."""
    environment = {"CLAW_HEARTBEAT_S": "0.2", "CLAW_HEARTBEAT_BOUND_S": "4"}
    async with (
        NumberedUpstream(tokens=40) as upstream,
        Fleet(tmp_path, pair.url, database_url, {"CLAW_LOCAL_OPENAI_URL": upstream.url, **environment}) as fleet,
    ):
        api = await fleet.api()
        await fleet.worker()
        await fleet.recorder()
        await ready(api, eventually)
        headers = {"authorization": f"Bearer {await fleet.key()}"}
        async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=60) as client:

            async def served() -> bool:
                reply = await client.post("/v1/chat/completions", json=chat())
                assert reply.status_code in {200, 503}, reply.text
                return reply.status_code == 200

            for turn in range(1, 3):
                upstream.hold_at, upstream.resume = 7, asyncio.Event()
                readers = [Reader(client) for _ in range(10)]
                await eventually(lambda: all(reader.content == words(7) for reader in readers))  # noqa: B023 -- at once
                await pair.fail_over()
                upstream.hold_at = None
                upstream.resume.set()
                await asyncio.gather(*(reader.task for reader in readers))
                assert [reader.content for reader in readers] == [words(40)] * 10
                await eventually(served)
                await eventually(lambda: _logged(fleet, 11 * turn))  # noqa: B023 -- at once


async def _logged(fleet: Fleet, count: int) -> bool:
    return len([row for row in await fleet.usage() if row["status"] == 200]) >= count
