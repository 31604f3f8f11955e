"""A client that does not read holds back neither others nor memory."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from tests.fleet import BOTH_WAYS, Fleet, Process, chat, ready
from tests.streams import Reader, usage_rows
from tests.upstreams.numbered import NumberedUpstream, words

if TYPE_CHECKING:
    from tests.conftest import Eventually

pytestmark = BOTH_WAYS

ENOUGH = 100_000


LISTEN, TIME_WAIT = "0A", "06"


def connections_of(process: Process) -> int:
    """Return how many connections a process has with its clients (proc(5), /proc/net/tcp)."""
    port = f":{int(process.url.rpartition(':')[2]):04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(port) and row[3] not in {LISTEN, TIME_WAIT} for row in rows)


async def test_a_client_that_does_not_read_is_cut_and_others_are_served(
    fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Past its buffer the upstream is stopped, the connection is closed for good, and the log says why."""
    process = await fleet.api(CLAW_CLIENT_BUFFER_MIB="0.25")
    await fleet.worker()
    await fleet.recorder()
    await ready(process, eventually)
    key = await fleet.key()
    upstream.tokens = ENOUGH
    body = json.dumps(chat(stream=True)).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", int(process.url.rpartition(":")[2])))
        slow.sendall(head.encode() + body)
        await eventually(lambda: len(upstream.requests) == 1)
        upstream.tokens = 40
        headers = {"authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(base_url=process.url, headers=headers, timeout=60) as client:
            reader = Reader(client)
            await reader.task
            assert reader.content == words(40)
        await eventually(lambda: upstream.aborted == 1)
        await eventually(lambda: connections_of(process) == 0)
    rows = await usage_rows(fleet, eventually, 2)
    assert sorted((row["status"], row["error_code"] or "") for row in rows) == [(200, ""), (499, "client_too_slow")]


async def test_a_client_that_reads_slowly_but_steadily_gets_everything(
    client: httpx.AsyncClient, upstream: NumberedUpstream
) -> None:
    """Within the buffer nothing is lost, however the reads are cut."""
    upstream.tokens = 2000
    text = b""
    async with client.stream("POST", "/v1/chat/completions", json=chat(stream=True)) as reply:
        async for piece in reply.aiter_bytes(97):
            text += piece
            await asyncio.sleep(0)
    assert text.count(b'"content":" t') == 2000
    assert text.endswith(b"data: [DONE]\n\n")
