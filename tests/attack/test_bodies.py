"""Bodies that nobody has to take: without a key, too many at a time, or not to be parsed to their end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.attack.meters import resident_bytes
from tests.fleet import BOTH_WAYS, Fleet, Process, chat, ready
from tests.streams import Reader, usage_rows
from tests.upstreams.numbered import MODEL, words

if TYPE_CHECKING:
    from tests.conftest import Eventually
    from tests.upstreams.numbered import NumberedUpstream

MIB = 1024 * 1024
CONNECTIONS = 100
STREAMS = 50


async def _send_part_of_a_body(api: Process, declared: str, chunk: bytes) -> tuple[bytes, asyncio.StreamWriter]:
    """Send the head of a request without a key and 3 MiB of its body; return the status line, and keep it open."""
    address = urlsplit(api.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(f"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n{declared}\r\n\r\n".encode())
    for _ in range(3 * MIB // len(chunk)):
        writer.write(chunk)
        await writer.drain()
    return await reader.readline(), writer


@BOTH_WAYS
@pytest.mark.parametrize(
    ("declared", "chunk"),
    [
        (f"content-length: {19 * MIB}", b" " * 65536),
        ("transfer-encoding: chunked", b"10000\r\n" + b" " * 65536 + b"\r\n"),
        (f"authorization: Bearer sk-nself-wrong\r\ncontent-length: {19 * MIB}", b" " * 65536),
    ],
    ids=["of a length", "chunked", "with a wrong key"],
)
async def test_bodies_without_a_key_cost_no_memory(api: Process, declared: str, chunk: bytes) -> None:
    """A hundred connections send 300 MiB together: each is refused, and the api has not kept what it read."""
    before = resident_bytes(api.process.pid)
    sent = await asyncio.gather(*(_send_part_of_a_body(api, declared, chunk) for _ in range(CONNECTIONS)))
    grown = resident_bytes(api.process.pid) - before
    for status, writer in sent:
        assert status.startswith(b"HTTP/1.1 401")
        writer.close()
    assert grown < 128 * MIB  # of 300 MiB; what the sockets and their readers hold is about 60


@pytest.mark.switched
async def test_the_bodies_of_a_process_are_bounded_together(
    fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """What is beyond the bound is 503 and may come again; small requests go on, and a first content makes room."""
    api = await fleet.api(CLAW_MAX_BODY_MIB="1", CLAW_MAX_BODIES_MIB="1")
    await fleet.worker()
    await ready(api, eventually)
    large = chat(messages=[{"role": "user", "content": "x" * (700 * 1024)}])
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=60) as client:

        async def ask(body: dict[str, Any]) -> httpx.Response:
            return await client.post("/v1/chat/completions", json=body)

        upstream.hold_at = 0
        first = asyncio.create_task(ask(large))
        await eventually(lambda: upstream.held == 1)
        refused = await ask(large)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
        assert int(refused.headers["retry-after"]) >= 1
        small = asyncio.create_task(ask(chat()))
        await eventually(lambda: upstream.held == 2)
        upstream.resume.set()
        assert {(await first).status_code, (await small).status_code} == {200}
        assert (await ask(large)).status_code == 200


@pytest.mark.switched
@pytest.mark.hang_bound_s(600)
async def test_streams_do_not_keep_their_bodies(
    fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Fifty streams of 4 MiB each are open at once where bodies may have 16 MiB together; the api stays small.

    A stream that breaks off then is estimated all the same.
    """
    api = await fleet.api(CLAW_MAX_BODY_MIB="8", CLAW_MAX_BODIES_MIB="16")
    await fleet.worker(CLAW_BETWEEN_TOKENS_TIMEOUT_S="600")
    await fleet.recorder()
    await ready(api, eventually)
    upstream.hold_at = 3
    messages = [{"role": "user", "content": "x" * (4 * MIB)}]
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=600) as client:
        readers = [Reader(client, messages=messages)]
        await eventually(lambda: readers[-1].content == words(3))
        before = resident_bytes(api.process.pid)
        while len(readers) < STREAMS:
            readers.append(Reader(client, messages=messages))
            await eventually(lambda: readers[-1].content == words(3))
        assert resident_bytes(api.process.pid) - before < 64 * MIB  # of 200 MiB
        upstream.error_at = 3
        upstream.resume.set()
        await eventually(lambda: all(reader.task.done() for reader in readers))
    rows = await usage_rows(fleet, eventually, STREAMS)
    assert {(row["status"], row["prompt_tokens"], row["completion_tokens"]) for row in rows} == {(502, MIB, 3)}


@pytest.mark.parametrize(
    "oddity",
    [b'"\xff"', b'{"\xff": 1}', b"1e999", b"-1e999", b"[1e0000400]", b"9" * 5000, b"-" + b"1" * 400 + b".5"],
    ids=["text", "name", "large", "small", "leading zeros", "long", "long fraction"],
)
@pytest.mark.parametrize("url", ["/v1/chat/completions", "/v1/embeddings"])
async def test_what_json_cannot_mean_is_the_callers_mistake(
    client: httpx.AsyncClient, fleet: Fleet, url: str, oddity: bytes
) -> None:
    """Also in a field that is not known: 400 `invalid_json`, and no worker is asked."""
    for place in (b'"unknown": %s', b'"metadata": {"a": %s}', b'"unknown": {"a": [%s]}'):
        known = b'{"model": "%s", "messages": [{"role": "user", "content": "a"}], "input": "a", ' % MODEL.encode()
        body = known + place % oddity + b"}"
        reply = await client.post(url, content=body)
        assert reply.status_code == 400, (place, reply.text)
        assert reply.json()["error"]["type"] == "invalid_request_error"
    assert all("Traceback" not in process.log.read_text() for process in fleet.processes)
