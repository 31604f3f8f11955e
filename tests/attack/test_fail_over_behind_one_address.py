"""A fail-over that only moves an address: old connections stay with a master that has become a replica."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import pytest
from redis.asyncio import Redis

from shared.redis import client as redis_client
from tests.fleet import Fleet, chat, ready
from tests.redis_servers import Proxy, Server
from tests.streams import Reader
from tests.upstreams.numbered import NumberedUpstream, words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.conftest import Eventually

CONFIGURATION = 'bind 127.0.0.1\nsave ""\nrepl-diskless-sync-delay 0\n'


class Pair:
    """A master and its replica behind one address."""

    def __init__(self, master: Server, replica: Server, proxy: Proxy) -> None:
        self._master = master
        self._replica = replica
        self._proxy = proxy

    @property
    def url(self) -> str:
        """The address that does not change."""
        return f"redis://127.0.0.1:{self._proxy.port}/0"

    async def in_sync(self) -> bool:
        """Return whether the replica follows its master."""
        async with Redis(port=self._replica.port) as client:
            try:
                return bool((await client.info("replication"))["master_link_status"] == "up")
            except redis_client.UNREACHABLE:
                return False

    async def fail_over(self) -> None:
        """Make the replica the master and the other way round; connections that are there stay where they are."""
        async with Redis(port=self._replica.port) as client:
            await client.replicaof("NO", "ONE")
        self._proxy.behind = self._replica.port
        async with Redis(port=self._master.port) as client:
            await client.replicaof("127.0.0.1", str(self._replica.port))
        self._master, self._replica = self._replica, self._master


@pytest.fixture
async def pair(tmp_path: Path, eventually: Eventually) -> AsyncIterator[Pair]:
    """Both in sync."""
    master = Server(tmp_path / "master", CONFIGURATION)
    replica = Server(tmp_path / "replica", f"{CONFIGURATION}replicaof 127.0.0.1 {master.port}\n")
    await master.start()
    await replica.start()
    try:
        async with Proxy(master.port) as proxy:
            pair = Pair(master, replica, proxy)
            await eventually(pair.in_sync)
            yield pair
    finally:
        await master.kill()
        await replica.kill()


async def test_every_process_follows_the_address_to_the_new_master(
    tmp_path: Path, pair: Pair, database_url: str, eventually: Eventually
) -> None:
    """Streams in flight go on whole, new requests are served, and nothing stays with the old master, twice over."""
    environment = {"CLAW_HEARTBEAT_S": "0.2", "CLAW_HEARTBEAT_BOUND_S": "1.5"}
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
