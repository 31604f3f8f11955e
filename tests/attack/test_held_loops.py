"""No request holds the event loop of an api or a worker for longer than 50 ms of processor time."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.attack.bodies import BODIES, LARGE, RAW, TOO_MANY_VALUES
from tests.attack.meters import held_loops, holding_nobody, loop_bound_s
from tests.fleet import PATIENCE_S, chat, ready

if TYPE_CHECKING:
    from tests.conftest import Eventually
    from tests.fleet import Fleet
    from tests.upstreams.numbered import NumberedUpstream

TOGETHER = 20
CHAT = "/v1/chat/completions"
SMALL = json.dumps(chat()).encode()


@pytest.fixture
def fleet_environment() -> dict[str, str]:
    """Return what has every process watch its event loop."""
    return {"CLAW_LOOP_WATCH_S": str(loop_bound_s())}


async def asked(client: httpx.AsyncClient, fleet: Fleet, path: str, body: bytes) -> httpx.Response:
    """Send a body that holds nobody."""
    return await holding_nobody(fleet, lambda: client.post(path, content=body))


@pytest.mark.parametrize("name", TOO_MANY_VALUES)
async def test_a_body_of_millions_of_values_is_refused(client: httpx.AsyncClient, fleet: Fleet, name: str) -> None:
    """400 that names the bound; nobody's stream stands still while it is found out."""
    reply = await asked(client, fleet, CHAT, TOO_MANY_VALUES[name])
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "too_many_values")
    assert "100000" in reply.json()["error"]["message"]


@pytest.mark.parametrize("name", LARGE)
async def test_a_large_body_is_served_and_holds_nobody(client: httpx.AsyncClient, fleet: Fleet, name: str) -> None:
    """As many values, or bytes, as a body may have."""
    reply = await asked(client, fleet, CHAT, LARGE[name])
    assert reply.status_code == 200, reply.text[:300]


async def test_token_ids_for_embeddings_hold_nobody(client: httpx.AsyncClient, fleet: Fleet) -> None:
    """OpenAI's bound of 300,000; what has more is refused."""
    lists = b",".join([b"[" + b",".join([b"1234"] * 146) + b"]"] * 2048)
    for inputs, status in ((lists, 404), (lists + b",[" + b"1," * 9000 + b"1]", 400)):
        reply = await asked(client, fleet, "/v1/embeddings", b'{"model": "none", "input": [%s]}' % inputs)
        assert reply.status_code == status, reply.text[:300]


async def test_a_body_of_a_chunk_for_each_byte_holds_nobody(
    client: httpx.AsyncClient, fleet: Fleet, upstream: NumberedUpstream
) -> None:
    """Nor where most of a megabyte of them has come while the request before it was answered."""
    upstream.pause_s = 0.3
    address = client.base_url
    body = json.dumps(chat(messages=[{"role": "user", "content": "x" * 140_000}])).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nhost: a\r\nauthorization: {client.headers['authorization']}\r\n".encode()
    whole = head + b"content-length: %d\r\n\r\n" % len(SMALL) + SMALL
    chunks = head + b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    chunks += b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"

    async def send() -> None:
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(whole + chunks)
        async with asyncio.timeout(PATIENCE_S):
            answers = await reader.read()
        writer.close()
        assert answers.count(b"HTTP/1.1 200 ") == 2, answers[:500]

    await holding_nobody(fleet, send)


async def test_many_bodies_of_a_chunk_for_each_byte_hold_nobody_together(
    client: httpx.AsyncClient, fleet: Fleet
) -> None:
    """What is read of all of them in a turn is bounded: they held everybody up for a fifth of a second."""
    address = client.base_url
    body = json.dumps(chat(messages=[{"role": "user", "content": "x" * 200_000}])).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nhost: a\r\nauthorization: {client.headers['authorization']}\r\n".encode()
    chunks = head + b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    chunks += b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"

    async def send() -> None:
        opened = [await asyncio.open_connection(address.host, address.port) for _ in range(TOGETHER)]
        for _, writer in opened:
            writer.write(chunks)
        async with asyncio.timeout(PATIENCE_S):
            answers = await asyncio.gather(*(reader.read() for reader, _ in opened))
        for _, writer in opened:
            writer.close()
        assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers), answers

    await holding_nobody(fleet, send)


@pytest.mark.switched
async def test_bodies_that_mean_harm_hold_nobody(client: httpx.AsyncClient, fleet: Fleet) -> None:
    """Neither the api, which refuses them, nor a worker that gets to see some."""
    for raw in (*(json.dumps(chat(**fields)).encode() for fields in BODIES.values()), *RAW.values()):
        await asked(client, fleet, CHAT, raw)


async def test_the_watch_sees_a_loop_that_is_held(fleet: Fleet, eventually: Eventually) -> None:
    """Else the tests above would show nothing: with a bound of nearly nothing every process is found at fault."""
    api = await fleet.api(CLAW_LOOP_WATCH_S="0.001")
    await fleet.worker(CLAW_LOOP_WATCH_S="0.001")
    await ready(api, eventually)
    async with httpx.AsyncClient(base_url=api.url, timeout=PATIENCE_S) as client:
        headers = {"authorization": f"Bearer {await fleet.key()}"}
        await client.post(CHAT, content=LARGE["turns"], headers=headers)
    await eventually(lambda: {name.split("-")[0] for name, _ in held_loops(fleet)} == {"api", "local"})
