"""HTTP/2 as a client speaks it that means harm, without a key: it ends no other stream, and holds no event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import h2.connection
import h2.events
import pytest

from tests.attack.meters import held_loops, loop_bound_s
from tests.fleet import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from tests.fleet import Fleet, Process

TRIES = 5
HEAD = [(":method", "POST"), (":path", "/v1/chat/completions"), (":scheme", "http"), (":authority", "a")]
WRONG = [*HEAD, ("authorization", "Bearer sk-nself-wrong")]
FLOODS = {
    "pings": b"\0\0\x08\x06\0\0\0\0\0" + bytes(8),
    "settings": b"\0\0\0\4\0\0\0\0\0",
    "priorities": b"\0\0\5\2\0\0\0\0\3" + bytes(4) + b"\x10",
    "updates of the window": b"\0\0\4\x08\0\0\0\0\0\0\0\0\1",
}
SIZE = 256 * 1024


@pytest.fixture
def fleet_environment() -> dict[str, str]:
    """Return what has every process watch its event loop."""
    return {"CLAW_LOOP_WATCH_S": str(loop_bound_s())}


class Client:
    """A client of HTTP/2 that knows of it beforehand.

    Attributes:
        connection: what it says and hears.
        seen: the events so far.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.connection = h2.connection.H2Connection()
        self.connection.initiate_connection()
        self.seen: list[h2.events.Event] = []

    @classmethod
    async def of(cls, api: Process) -> Client:
        """Connect."""
        host, _, port = api.url.removeprefix("http://").partition(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    async def send(self, raw: bytes = b"") -> None:
        """Send what it has to say, and then anything."""
        self._writer.write(self.connection.data_to_send() + raw)
        await self._writer.drain()

    async def until(self, is_over: Callable[[h2.events.Event], bool]) -> None:
        """Read until there is such an event, and answer what is to be answered."""
        async with asyncio.timeout(PATIENCE_S):
            while not any(map(is_over, self.seen)):
                data = await self._reader.read(65536)
                assert data, self.seen
                self.seen += self.connection.receive_data(data)
                await self.send()

    async def until_ended(self, stream: int) -> None:
        """Read until a stream has its answer."""
        await self.until(lambda event: isinstance(event, h2.events.StreamEnded) and event.stream_id == stream)

    def status(self, stream: int) -> str:
        """Return the status of the answer of a stream."""
        for event in self.seen:
            if isinstance(event, h2.events.ResponseReceived) and event.stream_id == stream:
                return dict(event.headers)[b":status"].decode()
        return ""

    def close(self) -> None:
        """Leave."""
        self._writer.close()


async def test_a_body_that_goes_on_behind_its_refusal_ends_no_other_stream(api: Process) -> None:
    """A proxy has the streams of many clients on one connection; it was lost with a traceback."""
    client = await Client.of(api)
    client.connection.send_headers(1, WRONG)
    await client.send()
    await client.until_ended(1)
    assert client.status(1) == "401"
    await client.send(b"\0\0\5\0\0\0\0\0\1hello" * 5)
    client.connection.send_headers(3, [(":method", "GET"), (":path", "/health"), *HEAD[2:]], end_stream=True)
    await client.send()
    await client.until_ended(3)
    assert client.status(3) == "200"
    client.close()
    assert "Traceback" not in api.log.read_text()


async def test_a_request_that_is_none_is_reset_alone(api: Process) -> None:
    """A method outside ASCII, a path that is no text, a CONNECT without a path."""
    client = await Client.of(api)
    odd = (
        [(b":method", b"G\xffT"), (b":path", b"/"), (b":scheme", b"http"), (b":authority", b"a")],
        [(b":method", b"GET"), (b":path", b"/\xff"), (b":scheme", b"http"), (b":authority", b"a")],
        [(b":method", b"CONNECT"), (b":authority", b"a")],
    )
    client.connection.config.validate_outbound_headers = False
    client.connection.config.normalize_outbound_headers = False
    for number, headers in enumerate(odd):
        client.connection.send_headers(2 * number + 1, headers, end_stream=True)
    last = 2 * len(odd) + 1
    client.connection.send_headers(last, [(":method", "GET"), (":path", "/health"), *HEAD[2:]], end_stream=True)
    await client.send()
    await client.until_ended(last)
    assert client.status(last) == "200"
    client.close()
    assert "Traceback" not in api.log.read_text()


@pytest.mark.parametrize("name", FLOODS)
async def test_frames_without_end_hold_nobody(client: httpx.AsyncClient, fleet: Fleet, api: Process, name: str) -> None:
    """A quarter of a megabyte of the smallest frames at once: the api did nothing else for seconds."""
    for _ in range(TRIES):
        known = len(held_loops(fleet))
        flooding = await Client.of(api)
        await flooding.send()
        sent = asyncio.create_task(flooding.send(FLOODS[name] * (SIZE // len(FLOODS[name]))))
        for _ in range(20):
            assert (await client.get("/health")).status_code == 200
        sent.cancel()
        flooding.close()
        await asyncio.gather(sent, return_exceptions=True)
        if not (held := held_loops(fleet)[known:]):
            return
    raise AssertionError(held)
