"""An OpenAI-compatible upstream that counts: every answer is " t0 t1 t2 ...", so that nothing can be lost unseen.

An embedding of it is [0.5], of as many tokens as an answer has.

Tests hold it at a token of their choice, let it go on, and count the connections that were closed on it.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Self

from tests.upstreams.closing import accept_no_more, hang_up

if TYPE_CHECKING:
    from types import TracebackType

MODEL = "numbered"


class NumberedUpstream:
    """A server on a free port, as an async context manager.

    Args:
        tokens: how many tokens an answer has; a request that has arrived keeps what held then.

    Attributes:
        hold_at: the token before which every answer waits until `resume` is set; None for none.
        resume: set by the test to let held answers go on.
        held: how many answers wait now.
        requests: the bodies of all requests so far.
        aborted: how many answers were cut off by the other side.
        completed: how many answers were sent whole.
        cut_at: the token before which the connection is broken; None for never.
        error_at: the token before which `{"error": ...}` is sent inside the stream; None for never.
        failures: statuses that the next requests are answered with, one each.
        reason: what it says of a failure.
        trails_off: whether what it says of a failure does not end.
        takes: how many it answers at once, each of the others with 429; None for any number.
        most: how many it has answered at once so far.
        pause_s: how long it thinks before an answer's first token.
        models: the names on offer.
        context_length: of them, as it says itself; None for not at all.
        padding: what each token has behind its number.
    """

    def __init__(self, tokens: int = 20) -> None:
        self.tokens = tokens
        self.hold_at: int | None = None
        self.resume = asyncio.Event()
        self.held = 0
        self.requests: list[dict[str, Any]] = []
        self.aborted = 0
        self.completed = 0
        self.cut_at: int | None = None
        self.error_at: int | None = None
        self.failures: list[int] = []
        self.reason = "scripted failure"
        self.trails_off = False
        self.takes: int | None = None
        self.most = 0
        self.pause_s = 0.0
        self.padding = ""
        self._answering = 0
        self.models = [MODEL]
        self.context_length: int | None = None
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._connections: set[asyncio.Task[Any]] = set()

    @property
    def url(self) -> str:
        """Return the base URL, with /v1."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.resume.set()
        if self._server is not None:
            await accept_no_more(self._server)
        await hang_up(self._writers)
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next(
                    (int(line[15:]) for line in head.lower().split("\r\n") if line[:15] == "content-length:"), 0
                )
                body = await reader.readexactly(length)
                if head.startswith("GET"):
                    of_all = {"object": "model", "created": 1, "max_model_len": self.context_length}
                    models = [{"id": name, **of_all} for name in self.models]
                    await _reply(writer, 200, {"object": "list", "data": models})
                else:
                    await self._answer(reader, writer, json.loads(body))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
        tokens = self.tokens  # a test changes it for the next request as soon as it has seen this one
        self.requests.append(body)
        is_full = self.takes is not None and self._answering >= self.takes
        if self.failures or is_full:
            status = self.failures.pop(0) if self.failures else 429
            error = {"error": {"message": self.reason, "type": "scripted", "code": None}}
            await _reply(writer, status, error, missing=int(self.trails_off))
            return
        if "input" in body:
            usage = {"prompt_tokens": tokens, "total_tokens": tokens}
            one = {"object": "embedding", "index": 0, "embedding": [0.5]}
            await _reply(writer, 200, {"object": "list", "model": MODEL, "data": [one], "usage": usage})
            return
        gone = asyncio.ensure_future(reader.read(1))
        self._answering += 1
        self.most = max(self.most, self._answering)
        try:
            await asyncio.sleep(self.pause_s)
            await self._stream(writer, gone, tokens)
            self.completed += 1
        except ConnectionResetError:
            self.aborted += 1
            raise
        finally:
            self._answering -= 1
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)

    async def _stream(self, writer: asyncio.StreamWriter, gone: asyncio.Future[bytes], tokens: int) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for number in range(tokens):
            if number == self.hold_at and not self.resume.is_set():
                await self._hold(gone)
            if number == self.cut_at:
                writer.transport.abort()
                raise ConnectionAbortedError
            if number == self.error_at:
                _chunk(writer, {"error": {"message": "scripted failure", "type": "scripted", "code": "scripted"}})
                break
            _chunk(writer, _piece({"content": f" t{number}{self.padding}"}))
            await writer.drain()
            await asyncio.sleep(0)
            if gone.done():
                raise ConnectionResetError
        else:
            _chunk(writer, _piece({}, "stop"))
            usage = {"prompt_tokens": 3, "completion_tokens": tokens, "total_tokens": 3 + tokens}
            _chunk(writer, {"choices": [], "usage": usage})
        _frame(writer, b"data: [DONE]\n\n")
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def _hold(self, gone: asyncio.Future[bytes]) -> None:
        self.held += 1
        resumed = asyncio.ensure_future(self.resume.wait())
        one_of: tuple[asyncio.Future[Any], ...] = (resumed, gone)
        try:
            await asyncio.wait(one_of, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.held -= 1
            resumed.cancel()
        if gone.done():
            raise ConnectionResetError


def words(tokens: int) -> str:
    """Return the whole answer of so many tokens."""
    return "".join(f" t{number}" for number in range(tokens))


def _piece(delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def _chunk(writer: asyncio.StreamWriter, event: dict[str, Any]) -> None:
    _frame(writer, b"data: " + json.dumps(event).encode() + b"\n\n")


def _frame(writer: asyncio.StreamWriter, event: bytes) -> None:
    writer.write(b"%x\r\n%s\r\n" % (len(event), event))


async def _reply(writer: asyncio.StreamWriter, status: int, body: dict[str, Any], missing: int = 0) -> None:
    text = json.dumps(body).encode()
    size = len(text) + missing
    head = f"HTTP/1.1 {status} Scripted\r\ncontent-type: application/json\r\ncontent-length: {size}\r\n\r\n"
    writer.write(head.encode() + text)
    await writer.drain()
