"""A client that sends more than its request, and leaves."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.fleet import BOTH_WAYS, chat
from tests.streams import usage_rows

if TYPE_CHECKING:
    import httpx

    from tests.conftest import Eventually
    from tests.fleet import Fleet, Process
    from tests.upstreams.numbered import NumberedUpstream

pytestmark = BOTH_WAYS


def request_of(key: str, *, stream: bool) -> bytes:
    """Return a chat request as bytes."""
    body = json.dumps(chat(stream=stream)).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def send_without_end(writer: asyncio.StreamWriter) -> None:
    """Send until somebody closes the connection."""
    while True:
        writer.write(bytes(65_536))
        await writer.drain()


async def connection(api: Process) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return a connection to an api process."""
    address = urlsplit(api.url)
    return await asyncio.open_connection(address.hostname, address.port)


@pytest.mark.parametrize("stream", [True, False], ids=["streaming", "whole"])
@pytest.mark.parametrize(
    "stray",
    [b"\r\n", b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n", b"\x00" * 70_000],
    ids=["a line end", "a pipelined request", "anything"],
)
async def test_a_client_that_sent_stray_bytes_and_leaves_stops_its_model(  # noqa: PLR0917 -- fixtures
    fleet: Fleet,
    api: Process,
    upstream: NumberedUpstream,
    eventually: Eventually,
    stray: bytes,
    stream: bool,  # noqa: FBT001 -- a case
) -> None:
    """Before the end of its answer, streaming or not; the log says that it left."""
    upstream.hold_at = 3
    _, writer = await connection(api)
    writer.write(request_of(await fleet.key(), stream=stream))
    await eventually(lambda: upstream.held == 1)
    writer.write(stray)
    await writer.drain()
    writer.close()
    await eventually(lambda: upstream.aborted == 1)
    (row,) = await usage_rows(fleet, eventually, 1)
    assert (row["status"], row["error_code"]) == (499, "cancelled")


async def test_pipelined_requests_are_answered_in_turn(
    fleet: Fleet, api: Process, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Also one whose bytes came in pieces while the one before was being answered."""
    upstream.hold_at = 3
    key = await fleet.key()
    reader, writer = await connection(api)
    writer.write(request_of(key, stream=False))
    await eventually(lambda: upstream.held == 1)
    second = request_of(key, stream=False)
    for start in range(0, len(second), 40):
        writer.write(second[start : start + 40])
        await writer.drain()
    upstream.hold_at = None
    upstream.resume.set()
    for _ in range(2):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        assert b"t39" in await reader.readexactly(int(length.partition(b":")[2]))
    writer.close()


async def test_who_sends_without_end_behind_a_request_is_disconnected(
    fleet: Fleet, api: Process, client: httpx.AsyncClient, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Nothing is kept without a bound; others are served."""
    upstream.hold_at = 3
    _, writer = await connection(api)
    writer.write(request_of(await fleet.key(), stream=True))
    await eventually(lambda: upstream.held == 1)
    with pytest.raises(ConnectionError):
        await send_without_end(writer)
    await eventually(lambda: upstream.aborted == 1)
    upstream.hold_at = None
    assert (await client.post("/v1/chat/completions", json=chat())).status_code == 200
