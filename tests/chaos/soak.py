"""Load for the soak: requests of several kinds, an upstream that does to each what its kind says, and their clients."""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
import random
from typing import TYPE_CHECKING, Any, Literal, get_args

from tests.fleet import chat
from tests.upstreams.numbered import NumberedUpstream, _reply, words

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKENS = 8
SHOWN = 3
"""How many tokens come before an answer breaks, or before its client leaves."""

Kind = Literal[
    "steady",  # answered
    "left_before",  # the client leaves before any content
    "left_midway",  # the client leaves in the middle of the answer
    "refused",  # the upstream says 500
    "error_midway",  # the upstream sends an error in the middle
    "cut_before",  # the upstream's connection breaks before any content
    "cut_midway",  # the upstream's connection breaks in the middle
]
SHARES: dict[Kind, float] = {
    "left_before": 0.025,
    "left_midway": 0.025,
    "refused": 0.025,
    "error_midway": 0.025,
    "cut_before": 0.025,
    "cut_midway": 0.025,
}
STATUS: dict[Kind, int] = {
    "steady": 200,
    "left_before": 499,
    "left_midway": 499,
    "refused": 502,
    "error_midway": 502,
    "cut_before": 502,
    "cut_midway": 502,
}
_numbers = itertools.count()


def kinds(count: int) -> list[Kind]:
    """So many kinds in their exact shares, in an order that is the same every time."""
    mixed: list[Kind] = [kind for kind in get_args(Kind) for _ in range(int(SHARES.get(kind, 0) * count))]
    mixed += ["steady"] * (count - len(mixed))
    random.Random(count).shuffle(mixed)
    return mixed


class SoakUpstream(NumberedUpstream):
    """Does to a request what its prompt says.

    Attributes:
        arrived: by the name of a request, set when it is here; its client waits for it before it leaves.
    """

    def __init__(self) -> None:
        super().__init__(tokens=TOKENS)
        self.arrived: dict[str, asyncio.Event] = {}

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
        name = body["messages"][0]["content"]
        kind = name.partition(" ")[0]
        if name in self.arrived:
            self.arrived[name].set()
        if kind == "refused":
            await _reply(writer, 500, {"error": {"message": "scripted failure", "type": "scripted", "code": None}})
            return
        one = copy.copy(self)
        one.requests = []
        one.hold_at = {"left_before": 0, "left_midway": SHOWN}.get(kind)
        one.cut_at = {"cut_before": 0, "cut_midway": SHOWN}.get(kind)
        one.error_at = SHOWN if kind == "error_midway" else None
        await NumberedUpstream._answer(one, reader, writer, body)


class Client:
    """One client with one connection, which it opens again when it has left. Plain sockets: thousands must be cheap.

    Args:
        port: of the api process.
        keys: the gateway key for each status that is expected.
        upstream: says when a request has got there.
    """

    def __init__(self, port: int, keys: dict[int, str], upstream: SoakUpstream) -> None:
        self._port = port
        self._keys = keys
        self._upstream = upstream
        self._connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def work(self, mixed: Iterator[Kind]) -> None:
        """Send requests of the kinds given until there are no more."""
        for kind in mixed:
            await self._ask(kind)
        if self._connection is not None:
            self._connection[1].close()

    async def _ask(self, kind: Kind) -> None:
        number = next(_numbers)
        name, stream = f"{kind} {number}", number % 2 == 0
        leaves = kind in {"left_before", "left_midway"}
        if leaves:
            self._upstream.arrived[name] = asyncio.Event()
        reader, writer = await self._send(name, stream=stream, key=self._keys[STATUS[kind]])
        if leaves:
            await self._upstream.arrived[name].wait()
            del self._upstream.arrived[name]
            if kind == "left_midway" and stream:
                await reader.readuntil(f" t{SHOWN - 1}".encode())
            writer.transport.abort()
            self._connection = None
            return
        status, text = await _response(reader)
        _check(kind, status, text, stream=stream)

    async def _send(self, name: str, *, stream: bool, key: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._connection is None:
            self._connection = await asyncio.open_connection("127.0.0.1", self._port)
        body = json.dumps(chat(messages=[{"role": "user", "content": name}], stream=stream)).encode()
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            f"authorization: Bearer {key}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        self._connection[1].write(head.encode() + body)
        return self._connection


async def _response(reader: asyncio.StreamReader) -> tuple[int, str]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    status = int(head.split(" ", 2)[1])
    _, found, rest = head.partition("content-length:")
    if found:
        return status, (await reader.readexactly(int(rest.split("\r\n", 1)[0]))).decode()
    text = b""
    while size := int(await reader.readline(), 16):
        text += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)
    return status, text.decode()


def _check(kind: Kind, status: int, text: str, *, stream: bool) -> None:
    """Check that an answer is whole, or ends in one clear error; with content before it the status was already sent."""
    begun = stream and kind in {"error_midway", "cut_midway"}
    assert status == (200 if begun else STATUS[kind]), (kind, status, text)
    if kind == "steady":
        assert text.count("data: [DONE]") == stream
        said = "".join(part.partition('"')[0] for part in text.split('"content":"')[1:]) if stream else text
        assert words(TOKENS) in said, text
    else:
        assert text.count('"error"') == 1, text
        assert "[DONE]" not in text, text
