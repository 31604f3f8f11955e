"""HTTP/1.1 on real sockets, byte by byte: by ourselves and by h11, which must agree, and where ours is stricter."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import h2.connection
import h2.events
import pytest

from api.server.connection import DROPPED_BYTES, PIPELINED_BYTES
from api.server.hypercorn_server import PromptTCPServer
from tests.integration.api.server.serving import Served, read_body, read_response, respond, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import Eventually

HOST = b"host: a\r\n"
MIB = 1024 * 1024


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with what was asked; the path says how."""
    body = await read_body(receive)
    text = f"{scope['method']} {scope['path']}?{scope['query_string'].decode()} ".encode() + body
    if scope["path"] == "/fail":
        raise ValueError("this application fails")
    if scope["path"] == "/break":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a part", "more_body": True})
        raise ValueError("this application fails")
    if scope["path"] == "/204":
        await send({"type": "http.response.start", "status": 204, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    elif scope["path"] == "/pieces":
        await respond(send, b"", 200, b"one ", b"", text)
    else:
        await respond(send, text)


async def refuse(scope: Any, receive: Any, send: Any) -> None:
    """Answer without reading anything."""
    del scope, receive
    await respond(send, b"no", 401)


@pytest.fixture(params=[True, False], ids=["direct", "h11"])
def is_direct(request: pytest.FixtureRequest) -> bool:
    """Return both ways."""
    direct: bool = request.param
    return direct


@pytest.fixture
async def echoing(is_direct: bool) -> AsyncIterator[Served]:  # noqa: FBT001 -- a case
    """Yield the echoing server, both ways."""
    async with serving(echo, is_direct=is_direct) as served:
        yield served


@pytest.fixture
async def direct() -> AsyncIterator[Served]:
    """Yield the echoing server, our way."""
    async with serving(echo, is_direct=True) as served:
        yield served


REQUESTS = {
    "a GET": b"GET /a%20b?c=%20 HTTP/1.1\r\n" + HOST + b"\r\n",
    "a POST": b"POST /a HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc",
    "chunks": b"POST /a HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\n\r\n",
    "a HEAD": b"HEAD /a HTTP/1.1\r\n" + HOST + b"\r\n",
    "a HEAD of chunks": b"HEAD /pieces HTTP/1.1\r\n" + HOST + b"\r\n",
    "an answer in chunks": b"GET /pieces HTTP/1.1\r\n" + HOST + b"\r\n",
    "no content": b"GET /204 HTTP/1.1\r\n" + HOST + b"\r\n",
    "OPTIONS": b"OPTIONS /a HTTP/1.1\r\n" + HOST + b"\r\n",
    "an unknown method": b"BREW /a HTTP/1.1\r\n" + HOST + b"\r\n",
    "HTTP/1.0": b"GET /a HTTP/1.0\r\n\r\n",
    "an upgrade that nobody knows": b"GET /a HTTP/1.1\r\n" + HOST + b"Upgrade: TLS/1.0\r\nConnection: upgrade\r\n\r\n",
    "a failure": b"GET /fail HTTP/1.1\r\n" + HOST + b"\r\n",
    "a failure in the middle": b"GET /break HTTP/1.1\r\n" + HOST + b"\r\n",
}
LAST = b"GET /last HTTP/1.1\r\n" + HOST + b"connection: close\r\n\r\n"


@pytest.mark.parametrize("request_bytes", REQUESTS.values(), ids=REQUESTS)
async def test_both_ways_answer_with_the_same_bytes(request_bytes: bytes) -> None:
    """All of them but the date and the case of names, for a request and another one behind it."""
    answers = []
    for is_direct in (True, False):
        async with serving(echo, is_direct=is_direct) as served:
            answers.append(re.sub(rb"date: .*\r\n", b"", (await served.ask(request_bytes + LAST)).lower()))
    assert answers[0] == answers[1] != b""


PIPELINED = REQUESTS["a POST"] + REQUESTS["chunks"] + REQUESTS["a GET"] + LAST


async def test_pipelined_requests_are_answered_in_turn(echoing: Served) -> None:
    """Each from its own bytes."""
    answers = await echoing.ask(PIPELINED)
    assert re.findall(rb"(?:POST|GET) /\w+", answers) == [b"POST /a", b"POST /a", b"GET /a", b"GET /last"]


@pytest.mark.parametrize("size", [1, 7])
async def test_requests_may_be_cut_anywhere(direct: Served, size: int) -> None:
    """The answers are the same."""
    reader, writer = await direct.connect()
    for start in range(0, len(PIPELINED), size):
        writer.write(PIPELINED[start : start + size])
        await asyncio.sleep(0)
    answers = await reader.read()
    writer.close()
    undated = [re.sub(rb"date: .*\r\n", b"", some) for some in (answers, await direct.ask(PIPELINED))]
    assert undated[0] == undated[1]


async def test_a_connection_serves_one_request_after_the_other(echoing: Served) -> None:
    """Also behind a body in chunks and an answer in chunks."""
    reader, writer = await echoing.connect()
    for name in ("a GET", "a POST", "chunks", "an answer in chunks", "a GET"):
        writer.write(REQUESTS[name])
        status, headers, body = await read_response(reader)
        assert (status, b"/" in body, "connection" in headers) == (200, True, False)
    writer.close()


async def test_http2_is_hypercorns(echoing: Served) -> None:
    """By prior knowledge, which needs no TLS."""
    reader, writer = await echoing.connect()
    client = h2.connection.H2Connection()
    client.initiate_connection()
    headers = [(":method", "GET"), (":path", "/two"), (":scheme", "http"), (":authority", "a")]
    client.send_headers(1, headers, end_stream=True)
    writer.write(client.data_to_send())
    body, is_over = b"", False
    while not is_over:
        for event in client.receive_data(await reader.read(65536)):
            body += event.data if isinstance(event, h2.events.DataReceived) else b""
            is_over |= isinstance(event, h2.events.StreamEnded)
    writer.close()
    assert body == b"GET /two? "


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nhost", REQUESTS["a GET"]], ids=repr)
async def test_who_does_not_go_on_is_disconnected(is_direct: bool, sent: bytes) -> None:  # noqa: FBT001 -- a case
    """Before a head, in the middle of it, or behind an answer; no byte is said."""
    async with serving(echo, is_direct=is_direct, keep_alive_s=0.5) as served:
        answer = await served.ask(sent)
    assert answer.startswith(b"HTTP/1.1 200") == (sent == REQUESTS["a GET"])
    assert answer.count(b"HTTP/1.1") <= 1


async def test_a_request_may_take_longer_than_a_connection_may_idle(is_direct: bool) -> None:  # noqa: FBT001 -- a case
    """The time begins at its end."""

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        del scope
        await read_body(receive)
        await asyncio.sleep(0.8)
        await respond(send, b"late")

    async with serving(slow, is_direct=is_direct, keep_alive_s=0.4) as served:
        assert (await served.ask(REQUESTS["a GET"])).endswith(b"late")


@pytest.mark.parametrize("is_begun", [True, False], ids=["streaming", "waiting"])
async def test_a_request_hears_that_its_client_left(is_direct: bool, is_begun: bool) -> None:  # noqa: FBT001 -- a case
    """Before its response and in the middle of it."""
    began, heard = asyncio.Event(), asyncio.Event()

    async def waiting(scope: Any, receive: Any, send: Any) -> None:
        del scope
        await read_body(receive)
        if is_begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        began.set()
        assert (await receive())["type"] == "http.disconnect"
        if is_begun:
            await send({"type": "http.response.body", "body": b"to nobody", "more_body": True})
        heard.set()

    async with serving(waiting, is_direct=is_direct) as served:
        _, writer = await served.connect()
        writer.write(REQUESTS["a POST"])
        await began.wait()
        writer.close()
        await heard.wait()


async def test_a_client_that_does_not_read_holds_its_application_back(is_direct: bool) -> None:  # noqa: FBT001 -- a case
    """What waits for it is bounded, and it gets all of it in the end."""
    waiting: list[int] = []

    async def large(scope: Any, receive: Any, send: Any) -> None:
        del scope
        await read_body(receive)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % (64 * MIB))]})
        for _ in range(64):
            await send({"type": "http.response.body", "body": bytes(MIB), "more_body": True})
            (connection,) = served.config.connections.values()
            assert isinstance(connection, PromptTCPServer)
            waiting.append(connection.writer.transport.get_write_buffer_size())
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async with serving(large, is_direct=is_direct) as served:
        reader, writer = await served.connect()
        writer.write(REQUESTS["a GET"])
        _, _, body = await read_response(reader)
        writer.close()
    assert len(body) == 64 * MIB
    assert max(waiting) <= 65_536


async def test_a_body_that_nobody_reads_is_not_kept(is_direct: bool, eventually: Eventually) -> None:  # noqa: FBT001 -- a case
    """Its client has to wait with it; then all of it arrives."""
    wanted = asyncio.Event()

    async def late(scope: Any, receive: Any, send: Any) -> None:
        del scope
        await wanted.wait()
        await respond(send, b"%d" % len(await read_body(receive)))

    async with serving(late, is_direct=is_direct) as served:
        reader, writer = await served.connect()
        writer.transport.set_write_buffer_limits(0)
        writer.write(b"POST / HTTP/1.1\r\n" + HOST + b"content-length: %d\r\n\r\n" % (64 * MIB))
        sending = asyncio.create_task(_send(writer, bytes(64 * MIB)))
        await eventually(lambda: writer.transport.get_write_buffer_size() > 0)
        wanted.set()
        _, _, body = await read_response(reader)
        await sending
        writer.close()
    assert body == b"%d" % (64 * MIB)


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


# --- where ours is better ---

MALFORMED = {
    "two lengths": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
    "a length and a coding": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "a coding besides chunked": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
    "bare line feeds": (b"GET / HTTP/1.1\nhost: a\n\n", 400),
    "a folded line": (b"GET / HTTP/1.1\r\n" + HOST + b" b\r\n\r\n", 400),
    "HTTP/0.9": (b"GET /\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00", 400),
    "a head that does not end": (b"GET / HTTP/1.1\r\na: " + b"a" * 20_000, 431),
    "a WebSocket": (
        b"GET /a HTTP/1.1\r\n" + HOST + b"Upgrade: websocket\r\nConnection: keep-alive, upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: YWFhYWFhYWFhYWFhYWFhYQ==\r\n\r\n",
        404,
    ),
    "a chunk without a size": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
}


@pytest.mark.parametrize(("sent", "status"), MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("before", [b"", REQUESTS["a POST"]], ids=["first", "second"])
async def test_what_is_no_request_is_refused_and_ends_its_connection(
    direct: Served, sent: bytes, status: int, before: bytes
) -> None:
    """With an error in OpenAI's form; nothing behind it is looked at."""
    answer = await direct.ask(before + sent + LAST)
    assert answer.count(b"HTTP/1.1 ") == (2 if before else 1)
    refusal = answer[answer.rindex(b"HTTP/1.1 ") :]
    head, _, body = refusal.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"connection: close" in head
    assert json.loads(body)["error"]["code"] == ("not_found" if status == 404 else "malformed_request")
    assert b"/last" not in answer


async def test_100_is_said_only_once_the_body_is_wanted() -> None:
    """Who is refused sends none of it, and learns that nothing may follow."""

    async def choosy(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/no":
            await respond(send, b"no", 401)
        else:
            await respond(send, await read_body(receive))

    asking = HOST + b"expect: 100-continue\r\ncontent-length: 3\r\n\r\n"
    async with serving(choosy, is_direct=True) as served:
        reader, writer = await served.connect()
        writer.write(b"POST /yes HTTP/1.1\r\n" + asking)
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 \r\n\r\n"
        writer.write(b"abc")
        assert (await read_response(reader))[2] == b"abc"
        writer.write(b"POST /yes HTTP/1.1\r\n" + asking + b"abc")
        assert (await read_response(reader))[2] == b"abc"
        writer.close()
        refusal = await served.ask(b"POST /no HTTP/1.1\r\n" + asking)
    assert refusal.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in refusal


@pytest.mark.parametrize("size", [3, DROPPED_BYTES, DROPPED_BYTES + 1])
async def test_a_small_body_that_nobody_wanted_does_not_end_its_connection(size: int) -> None:
    """It may come after the answer; a large one ends it."""

    async def refusing(scope: Any, receive: Any, send: Any) -> None:
        del receive
        await respond(send, scope["path"].encode(), 401)

    async with serving(refusing, is_direct=True) as served:
        reader, writer = await served.connect()
        writer.write(b"POST /a HTTP/1.1\r\n" + HOST + b"content-length: %d\r\n\r\n" % size)
        assert (await read_response(reader))[2] == b"/a"
        if size <= DROPPED_BYTES:
            writer.write(bytes(size) + LAST)
            assert (await read_response(reader))[2] == b"/last"
        assert await reader.read() == b""
        writer.close()


async def test_a_server_that_stops_closes_idle_connections_and_says_so_to_others() -> None:
    """At once, and with its last response."""
    began, go_on = asyncio.Event(), asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        del scope, receive
        began.set()
        await go_on.wait()
        await respond(send, b"whole")

    async with serving(slow, is_direct=True) as served:
        idle, first = await served.connect()
        busy, second = await served.connect()
        second.write(REQUESTS["a GET"])
        await began.wait()
        served.config.close_idle_connections()
        assert await idle.read() == b""
        go_on.set()
        status, headers, body = await read_response(busy)
        assert (status, headers["connection"], body) == (200, "close", b"whole")
        assert await busy.read() == b""
        first.close()
        second.close()


async def test_a_response_can_begin_no_other_header() -> None:
    """Whatever an application puts into one."""

    async def careless(scope: Any, receive: Any, send: Any) -> None:
        del scope, receive
        headers = [(b"x", b"a\r\nset-cookie: b"), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async with serving(careless, is_direct=True) as served:
        answer = await served.ask(REQUESTS["a GET"])
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"set-cookie" not in answer


UNWANTED = {
    "a large body": (b"POST /a HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % (2 * MIB), b"HTTP/1.1 401 "),
    "a body in chunks": (b"POST /a HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n", b"HTTP/1.1 401 "),
    "a body on a last connection": (
        b"POST /a HTTP/1.1\r\n" + HOST + b"Connection: close\r\nContent-Length: 9000\r\n\r\n", b"HTTP/1.1 401 ",
    ),
    "no request": (bytes(9000), b"HTTP/1.1 400 "),
    "a head without end": (b"GET /a HTTP/1.1\r\n" + b"x: y\r\n" * 20_000, b"HTTP/1.1 431 "),
}  # fmt: skip


@pytest.mark.parametrize(("sent", "answer"), UNWANTED.values(), ids=UNWANTED)
async def test_who_still_sends_gets_to_read_why_it_was_refused(sent: bytes, answer: bytes) -> None:
    """Closing a connection with bytes unread would reset it, and take the answer from its client."""
    async with serving(refuse, is_direct=True) as served:
        reader, writer = await served.connect()
        writer.write(sent)
        said = await reader.readuntil(b"\r\n\r\n")
        for _ in range(32):
            writer.write(bytes(65_536))
            await writer.drain()
        said += await reader.read()
        assert said.startswith(answer)
        writer.close()
        await writer.wait_closed()


async def test_who_sends_on_and_on_after_its_answer_is_left(
    monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    """What comes is dropped for a while only."""
    monkeypatch.setattr("api.server.connection.LINGER_S", 2.0)
    async with serving(refuse, is_direct=True) as served:
        reader, writer = await served.connect()
        writer.write(b"POST /a HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % (2 * MIB))
        assert (await reader.read()).startswith(b"HTTP/1.1 401 ")
        assert served.config.connections
        await eventually(lambda: not served.config.connections)
        writer.transport.abort()


async def test_a_large_request_behind_an_answer_that_is_just_over_is_served(eventually: Eventually) -> None:
    """Its client has all of the answer already; uvloop reads 2 MiB before the server's own task goes on."""
    is_over = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        body = await read_body(receive)
        if scope["path"] == "/first":
            await is_over.wait()
        await respond(send, b"%d" % len(body))

    async with serving(slow, is_direct=True) as served:
        reader, writer = await served.connect()
        writer.write(b"GET /first HTTP/1.1\r\n" + HOST + b"\r\n")
        writer.write(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % (4 * MIB) + bytes(4 * MIB))

        def waits() -> bool:
            ours: list[Any] = [getattr(each, "_http1", None) for each in served.config.connections.values()]
            return any(each is not None and len(each.unread) > PIPELINED_BYTES for each in ours)

        await eventually(waits)
        is_over.set()
        assert (await read_response(reader))[2] == b"0"
        assert (await read_response(reader))[2] == b"%d" % (4 * MIB)
        writer.close()


async def test_who_sends_without_end_behind_a_request_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept for it is bounded."""
    monkeypatch.setattr("api.server.connection.ANSWER_S", 0.05)

    async def never(scope: Any, receive: Any, send: Any) -> None:
        del scope, send
        while (await receive())["type"] != "http.disconnect":
            pass

    async with serving(never, is_direct=True) as served:
        _, writer = await served.connect()
        writer.write(b"GET /first HTTP/1.1\r\n" + HOST + b"\r\n")
        with suppress(ConnectionError):
            while True:
                writer.write(bytes(65_536))
                await writer.drain()
