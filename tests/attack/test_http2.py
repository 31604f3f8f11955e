"""HTTP/2 as a client speaks it that means harm, without a key: it ends no other stream, and holds no event loop."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import h2.connection
import h2.events
import hpack
import pytest

from tests.attack.meters import alive, holding_nobody, loop_bound_s, resident_bytes
from tests.fleet import PATIENCE_S, chat, ready
from tests.upstreams.numbered import words

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from tests.conftest import Eventually
    from tests.fleet import Fleet, Process
    from tests.upstreams.numbered import NumberedUpstream

HEAD = [(":method", "POST"), (":path", "/v1/chat/completions"), (":scheme", "http"), (":authority", "a")]
WRONG = [*HEAD, ("authorization", "Bearer sk-nself-wrong")]
PING = b"\0\0\x08\x06\0\0\0\0\0" + bytes(8)
PONG = b"\0\0\x08\x06\1\0\0\0\0" + bytes(8)
FLOODS = {
    "pings": PING,
    "settings": b"\0\0\0\4\0\0\0\0\0",
    "priorities": b"\0\0\5\2\0\0\0\0\3" + bytes(4) + b"\x10",
    "updates of the window": b"\0\0\4\x08\0\0\0\0\0\0\0\0\1",
}
SIZE = 256 * 1024
MIB = 1024 * 1024
RESETS = 1500
MORE_BYTES = 64 * MIB
LONG_TOKENS, LONG_TOKEN = 2000, "x" * 8000
"""An answer of 16 MB."""


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
                new = self.connection.receive_data(data)
                for event in new:
                    if isinstance(event, h2.events.DataReceived):
                        self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                self.seen += new
                await self.send()

    async def until_heard(self, frame: bytes) -> None:
        """Read until there is this frame, whatever else there is: for one who keeps to nothing that was said."""
        heard = b""
        async with asyncio.timeout(PATIENCE_S):
            while frame not in heard:
                data = await self._reader.read(65536)
                assert data
                heard = heard[-len(frame) :] + data

    async def send_body(self, stream: int, body: bytes) -> None:
        """Send a body to its end, as much at a time as there is room for."""
        while body:
            window = self.connection.local_flow_control_window(stream)
            if not window:
                self.seen.clear()
                await self.until(lambda event: isinstance(event, h2.events.WindowUpdated))
                continue
            size = min(window, self.connection.max_outbound_frame_size)
            self.connection.send_data(stream, body[:size], end_stream=len(body) <= size)
            body = body[size:]
            await self.send()

    async def get(self, stream: int, path: str = "/health", *more: tuple[str, str]) -> str:
        """Ask for something; return the status."""
        self.connection.send_headers(stream, [(":method", "GET"), (":path", path), *HEAD[2:], *more], end_stream=True)
        await self.send()
        await self.until_ended(stream)
        return self.status(stream)

    async def until_ended(self, stream: int) -> None:
        """Read until a stream has its answer."""
        await self.until(lambda event: isinstance(event, h2.events.StreamEnded) and event.stream_id == stream)

    def status(self, stream: int) -> str:
        """Return the status of the answer of a stream."""
        for event in self.seen:
            if isinstance(event, h2.events.ResponseReceived) and event.stream_id == stream:
                return dict(event.headers)[b":status"].decode()
        return ""

    def content(self, stream: int) -> bytes:
        """Return what has come of the answer of a stream."""
        data = [event for event in self.seen if isinstance(event, h2.events.DataReceived)]
        return b"".join(event.data for event in data if event.stream_id == stream)

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

    async def flood() -> None:
        flooding = await Client.of(api)
        await flooding.send()
        sent = asyncio.create_task(flooding.send(FLOODS[name] * (SIZE // len(FLOODS[name]))))
        for _ in range(20):
            assert (await client.get("/health")).status_code == 200
        sent.cancel()
        flooding.close()
        await asyncio.gather(sent, return_exceptions=True)

    await holding_nobody(fleet, flood)


def _frame(kind: int, flags: int, payload: bytes, stream: int = 1) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _resets(asked: list[tuple[str, str]]) -> bytes:
    """Return streams that begin and are reset, in the fewest bytes: each header is a number that stands for it."""
    encoder, frames = hpack.Encoder(), bytearray()
    for stream in range(1, 2 * RESETS, 2):
        frames += _frame(1, 5, encoder.encode(asked), stream) + _frame(3, 0, bytes(3) + b"\x08", stream)
    return bytes(frames)


@pytest.mark.parametrize("has_key", [False, True], ids=["without a key", "with a key"])
async def test_streams_that_are_reset_at_once_hold_nobody(
    client: httpx.AsyncClient, fleet: Fleet, api: Process, *, has_key: bool
) -> None:
    """CVE-2023-44487: a client opens streams and resets them, as fast as it can write; others are served meanwhile."""
    processes, before = alive(fleet), resident_bytes(api.process.pid)
    asked = [*HEAD, ("authorization", client.headers["authorization"] if has_key else "Bearer sk-nself-wrong")]
    resets = _resets(asked)

    async def reset_all() -> None:
        hostile = await Client.of(api)
        sent = asyncio.create_task(hostile.send(resets + PING))
        # All of it has been read, and the others are served meanwhile.
        heard = asyncio.create_task(hostile.until_heard(PONG))
        while not heard.done():
            assert (await client.get("/health")).status_code == 200
        await asyncio.gather(sent, heard)
        hostile.close()
        assert (await client.post("/v1/chat/completions", json=chat())).status_code == 200

    await holding_nobody(fleet, reset_all)
    assert alive(fleet) == processes
    assert resident_bytes(api.process.pid) - before < MORE_BYTES
    assert "Traceback" not in api.log.read_text()


def _headers_of_a_megabyte() -> bytes:
    """Return headers whose only value is a text in Huffman's code: in frames that continue each other."""
    text = b"\x18\xc6\x31\x8c\x63" * 200_000  # eight letters
    value = b"\x40\x01a\xff" + _varint(len(text) - 127) + text
    pieces = [value[start : start + 16384] for start in range(0, len(value), 16384)]
    frames = [_frame(9, 0, piece) for piece in pieces[1:-1]]
    return b"".join([_frame(1, 1, pieces[0]), *frames, _frame(9, 4, pieces[-1])])


def _varint(number: int) -> bytes:
    found = bytearray()
    while number >= 128:
        found.append(number % 128 + 128)
        number //= 128
    return bytes((*found, number))


BOMBS = {
    "continued headers": _headers_of_a_megabyte(),
    # An entry of four thousand bytes, and then its number, a byte each time.
    "a repeated header": _frame(1, 5, b"\x40\x01a\x7f" + _varint(4000 - 127) + b"a" * 4000 + b"\xbe" * 10_000),
    "many headers": _frame(1, 5, b"\x40\x01a\x01b" + b"\xbe" * 1900),
}


@pytest.mark.parametrize("name", BOMBS)
async def test_headers_that_grow_hold_nobody(client: httpx.AsyncClient, fleet: Fleet, api: Process, name: str) -> None:
    """They are refused before they are decoded, or in the middle; the connection ends, and no other one."""
    before = resident_bytes(api.process.pid)

    async def send_ten() -> None:
        for _ in range(10):
            hostile = await Client.of(api)
            sent = asyncio.create_task(hostile.send(BOMBS[name]))
            for _ in range(5):
                assert (await client.get("/health")).status_code == 200
            sent.cancel()
            hostile.close()
            await asyncio.gather(sent, return_exceptions=True)

    await holding_nobody(fleet, send_ten)
    assert resident_bytes(api.process.pid) - before < MORE_BYTES
    assert "Traceback" not in api.log.read_text()


async def test_a_frame_that_is_too_long_is_not_kept(client: httpx.AsyncClient, api: Process) -> None:
    """It was looked at once all of its 16 MiB were there: without a key, on each of twenty connections."""
    before = resident_bytes(api.process.pid)
    hostile = [await Client.of(api) for _ in range(20)]

    async def send_much(each: Client) -> None:
        try:
            await each.send(b"\xff\xff\xff\0\0\0\0\0\1")
            for _ in range(15):
                await each.send(bytes(MIB))
        except OSError:
            return

    sent = [asyncio.create_task(send_much(each)) for each in hostile]
    await asyncio.wait(sent)
    assert (await client.get("/health")).status_code == 200
    assert resident_bytes(api.process.pid) - before < MORE_BYTES
    for each in hostile:
        each.close()


async def test_a_body_that_nobody_takes_stops_no_other_stream(
    client: httpx.AsyncClient, api: Process, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """It comes with a request that follows a response; the connection stood still until that ended."""
    upstream.hold_at = 3
    asked = {"model": chat()["model"], "input": "Count.", "background": True, "stream": False}
    begun = (await client.post("/v1/responses", json=asked)).json()
    await eventually(lambda: upstream.held == 1)
    over_h2 = await Client.of(api)
    follow = [(":method", "GET"), (":path", f"/v1/responses/{begun['id']}?stream=true"), *HEAD[2:]]
    follow += [("authorization", client.headers["authorization"]), ("content-length", "50000")]
    over_h2.connection.send_headers(1, follow)
    await over_h2.send()
    await over_h2.until(lambda event: isinstance(event, h2.events.ResponseReceived))
    assert over_h2.status(1) == "200"
    for _ in range(400):
        over_h2.connection.send_data(1, b"x" * 100)
    await over_h2.send()
    assert await over_h2.get(3) == "200"
    upstream.hold_at = None
    upstream.resume.set()
    await over_h2.until_ended(1)
    over_h2.close()


async def test_a_body_of_no_length_counts_as_all_do(
    fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """HTTP/2 needs no word for a body whose length is not said: it was taken for none, and took room of nobody's."""
    api = await fleet.api(CLAW_MAX_BODY_MIB="1", CLAW_MAX_BODIES_MIB="1")
    await fleet.worker()
    await ready(api, eventually)
    upstream.hold_at = 0
    over_h2 = await Client.of(api)
    head = [*HEAD, ("authorization", f"Bearer {await fleet.key()}")]
    body = json.dumps(chat(messages=[{"role": "user", "content": "x" * (700 * 1024)}])).encode()
    over_h2.connection.send_headers(1, head)
    await over_h2.send_body(1, body)
    await eventually(lambda: upstream.held == 1)
    over_h2.connection.send_headers(3, head)
    await over_h2.send()
    await over_h2.until_ended(3)
    assert over_h2.status(3) == "503"
    upstream.resume.set()
    await over_h2.until_ended(1)
    assert words(upstream.tokens).encode() in over_h2.content(1)
    over_h2.close()


def stream_of(api_key: str, body: bytes) -> list[tuple[str, str]]:
    """Return the head of a request with a key and a body."""
    return [*HEAD, ("authorization", api_key), ("content-length", str(len(body)))]


async def test_a_client_that_reads_nothing_is_cut_off_and_the_others_of_its_connection_go_on(
    client: httpx.AsyncClient, fleet: Fleet, api: Process, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """It opens no window for its answers, of 16 MB each: all of it was kept, whatever CLAW_CLIENT_BUFFER_MIB says."""
    upstream.tokens, upstream.padding = LONG_TOKENS, LONG_TOKEN
    over_h2, before = await Client.of(api), resident_bytes(api.process.pid)
    body = json.dumps(chat(stream=True)).encode()
    streams = range(1, 17, 2)
    for stream in streams:
        over_h2.connection.send_headers(stream, stream_of(client.headers["authorization"], body))
        over_h2.connection.send_data(stream, body, end_stream=True)
    await over_h2.send()

    async def all_over() -> bool:
        return len(await fleet.usage("chat")) == len(streams)

    await eventually(all_over)
    rows = await fleet.usage("chat")
    assert {(row["status"], row["error_code"]) for row in rows} == {(499, "client_too_slow")}
    assert resident_bytes(api.process.pid) - before < MORE_BYTES
    # Only those streams are reset: the connection is others' too.
    assert await over_h2.get(21) == "200"
    over_h2.close()
    assert "Traceback" not in api.log.read_text()


async def test_an_answer_of_many_bytes_is_whole(
    client: httpx.AsyncClient, api: Process, upstream: NumberedUpstream
) -> None:
    """Streamed and not, to a client that takes what comes."""
    upstream.tokens, upstream.padding = LONG_TOKENS // 4, LONG_TOKEN
    over_h2 = await Client.of(api)
    for stream, is_streamed in ((1, True), (3, False)):
        body = json.dumps(chat(stream=is_streamed)).encode()
        over_h2.connection.send_headers(stream, stream_of(client.headers["authorization"], body))
        over_h2.connection.send_data(stream, body, end_stream=True)
        await over_h2.send()
        await over_h2.until_ended(stream)
        assert over_h2.status(stream) == "200"
        assert over_h2.content(stream).count(LONG_TOKEN.encode()) == upstream.tokens
    over_h2.close()


@pytest.mark.parametrize("settings", ["A", "AAIAAAAF", "!!!!", ""])
async def test_an_upgrade_with_settings_that_are_none_is_closed(api: Process, settings: str) -> None:
    """Without a key, and it wrote a traceback into the log; settings that are empty are some."""
    host, _, port = api.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = "GET /health HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n"
    writer.write(f"{head}http2-settings: {settings}\r\n\r\n".encode())
    async with asyncio.timeout(PATIENCE_S):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        if settings.isalpha():
            assert await reader.read() == b""
    writer.close()
    assert "Traceback" not in api.log.read_text()
