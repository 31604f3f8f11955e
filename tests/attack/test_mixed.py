"""Everything at once, from a key that may ask once a minute: those who behave do not notice."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest

from shared.redis import client as redis_client
from tests.attack.bodies import BODIES, EMBEDDINGS, MIB, RAW
from tests.attack.meters import alive, memory_bytes
from tests.fleet import PATIENCE_S, chat, ready
from tests.streams import Reader
from tests.upstreams.numbered import words

if TYPE_CHECKING:
    from tests.conftest import Eventually
    from tests.fleet import Fleet
    from tests.upstreams.numbered import NumberedUpstream

STREAMS = 20
ROUNDS = 3
AT_ONCE = 8
MORE_BYTES = 200 * MIB


class Attacker:
    """One client that does its worst.

    Args:
        url: of the api.
        key: may ask once a minute.

    Attributes:
        answered: how many requests to a model had an answer, which is a refusal.
    """

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._headers = {"authorization": f"Bearer {key}"}
        self._turns = asyncio.Semaphore(AT_ONCE)
        self.answered = 0

    async def run(self) -> None:
        """Send everything, several at a time."""
        bodies = [chat(**{**fields, "stream": stream}) for fields in BODIES.values() for stream in (True, False)]
        chats: list[str | bytes] = [*map(json.dumps, bodies), *RAW.values()]
        async with httpx.AsyncClient(base_url=self._url, headers=self._headers, timeout=PATIENCE_S) as client:
            await asyncio.gather(
                *(self._post(client, "/v1/chat/completions", body) for body in chats),
                *(self._post(client, "/v1/embeddings", json.dumps(body)) for body in EMBEDDINGS.values()),
                *(self._raw(text) for text in (b"GET /v1/models HTTP/1.1\r\n\r\n\r\n", b"\x00" * 70_000)),
                self._upgrade(),
                self._stray(),
            )

    async def _post(self, client: httpx.AsyncClient, path: str, body: str | bytes) -> None:
        async with self._turns:
            reply = await client.post(path, content=body)
        assert reply.status_code in {200, 400, 404, 413, 429, 503}, (reply.status_code, reply.text[:300])
        assert reply.status_code == 200 or len(reply.content) < 4096
        self.answered += 1

    async def _raw(self, text: bytes) -> bytes:
        """Send text, and leave at the first answer."""
        address = urlsplit(self._url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(text)
        async with asyncio.timeout(PATIENCE_S):
            answer = await reader.read(65536)
        writer.transport.abort()
        return answer

    async def _upgrade(self) -> None:
        head = b"GET /v1/models HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
        key = b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        assert (await self._raw(head + key)).startswith(b"HTTP/1.1 404")

    async def _stray(self) -> None:
        """Send a request with stray bytes behind it, and leave."""
        body = json.dumps(chat(model="x")).encode()
        head = "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n"
        head += f"authorization: {self._headers['authorization']}\r\ncontent-length: {len(body)}\r\n\r\n"
        assert (await self._raw(head.encode() + body + b"\r\n\r\nstray")).startswith(b"HTTP/1.1 4")
        self.answered += 1


@pytest.mark.switched
@pytest.mark.hang_bound_s(600)
async def test_those_who_behave_do_not_notice_an_attack(
    fleet: Fleet, upstream: NumberedUpstream, fleet_redis_url: str, eventually: Eventually
) -> None:
    """Each of twenty streams is whole, every process lives and is as large as before, every request is in the log."""
    redis = redis_client.connect(fleet_redis_url)
    api = await fleet.api()
    await fleet.worker(CLAW_BETWEEN_TOKENS_TIMEOUT_S="600")
    await fleet.recorder()
    await ready(api, eventually)
    client = httpx.AsyncClient(
        base_url=api.url, headers={"authorization": f"Bearer {await fleet.key()}"}, timeout=10 * PATIENCE_S
    )
    upstream.hold_at, upstream.resume = 7, asyncio.Event()
    readers = [Reader(client) for _ in range(STREAMS)]
    await eventually(lambda: all(reader.content == words(7) for reader in readers))
    upstream.hold_at = None  # for what comes now
    attacker = Attacker(api.url, await fleet.key(rpm_limit=1))
    running, before = alive(fleet), await memory_bytes(fleet, redis)
    for _ in range(ROUNDS):
        await attacker.run()
    after = await memory_bytes(fleet, redis)
    assert {name: after[name] - size for name, size in before.items() if after[name] - size > MORE_BYTES} == {}
    assert alive(fleet) == running
    upstream.resume.set()
    await asyncio.gather(*(reader.task for reader in readers))
    assert [reader.content for reader in readers] == [words(upstream.tokens)] * STREAMS
    assert all(reader.done for reader in readers)

    async def logged() -> int:
        return sum(row["count"] for row in await fleet.usage("chat", "embeddings"))

    async def all_logged() -> bool:
        return await logged() >= attacker.answered + STREAMS

    await eventually(all_logged)
    assert await logged() == attacker.answered + STREAMS
    logs = [process.log.read_text() for process in fleet.processes]
    assert all("Traceback" not in log for log in logs)
    assert all(not line.startswith("2026-01-01") for log in logs for line in log.splitlines())
    await client.aclose()
    await redis_client.close(redis)
