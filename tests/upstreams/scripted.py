"""An HTTP server, in the test's own process, that answers by a script and checks what it is sent."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Self

from tests.upstreams.anthropic import replies as anthropic_replies
from tests.upstreams.closing import accept_no_more
from tests.upstreams.gemini import replies as gemini_replies
from tests.upstreams.ollama import replies as ollama_replies
from tests.upstreams.openai import replies as openai_replies
from tests.upstreams.strict import violation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BOUND_S = 60.0


class Act(Enum):
    """What an answer's step can do other than send bytes."""

    ABORT = auto()  # reset the connection
    CLOSE = auto()  # end the connection without ending the body
    HANG = auto()  # say nothing more, until the client leaves


Step = bytes | asyncio.Event | Act


@dataclass
class Answer:
    """How one request is answered.

    Args:
        steps: what happens in order: bytes are sent, an `asyncio.Event` is waited for (the test sets it), an `Act`
            is done.
        status: the HTTP status.
        headers: headers besides the framing.
        split: bytes are sent in pieces of this size, each in a write of its own; 1 splits at every byte.
        framing: "chunked", or "close" for a body that ends with the connection.
        close_after: close the connection after the answer without having said so, as llama.cpp's server does.
        answers_head: whether the status line is sent at all.
    """

    steps: Sequence[Step] = ()
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    split: int | None = None
    framing: str = "chunked"
    close_after: bool = False
    answers_head: bool = True


def sse(*steps: Step, **options: Any) -> Answer:
    """Return a stream of server-sent events, as OpenAI's API sends it."""
    return Answer(steps, headers={"content-type": "text/event-stream; charset=utf-8"}, **options)


def ndjson(*steps: Step, **options: Any) -> Answer:
    """Lines of JSON, as Ollama's API sends them."""
    return Answer(steps, headers={"content-type": "application/x-ndjson"}, **options)


def json_answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """Return a JSON body."""
    body = json.dumps(value).encode()
    return Answer([body], status=status, headers={"content-type": "application/json", **(headers or {})})


@dataclass
class Received:
    """A request that the server got."""

    method: str
    path: str
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        """Return the JSON body."""
        return json.loads(self.raw)


class ScriptedUpstream:
    """A server on a free port that answers each POST to a chat path with the next answer of its script.

        async with ScriptedUpstream() as upstream:
            upstream.add(sse(openai_replies.text("Hello")), json_answer({"error": ...}, status=503))
            ... call f"{upstream.url}/v1" (OpenAI's wire) or upstream.url (Ollama's) ...
            assert upstream.requests[0].body["model"] == "scripted"
            await upstream.until(lambda: upstream.aborted == 1)

    `/v1/models`, `/api/tags` and their like answer with `models` as often as they are asked; `routes` maps paths to
    other such lasting answers. When the script is used up, `fallback` answers if it is set, else status 500.

    It is strict: a chat request that the real server would refuse, or take otherwise than it was meant, gets a 400
    and is listed in `violations`, and leaving the context then fails the test.

    Attributes:
        requests: every chat request, in order.
        opened: how many connections were opened.
        open: how many are open now.
        aborted: how many were closed by the client before the answer's end.
    """

    def __init__(self, models: Sequence[str] = ("scripted",), context_length: int = 8192) -> None:
        self.requests: list[Received] = []
        self.violations: list[str] = []
        self.opened = 0
        self.open = 0
        self.aborted = 0
        self.fallback: Answer | None = None
        self.routes: dict[str, Answer] = {
            "/v1/models": json_answer(openai_replies.model_list(models, context_length)),
            "/v1/models?limit=1000": json_answer(anthropic_replies.model_page(models)),
            "/api/tags": json_answer(ollama_replies.tags(models)),
            "/api/show": json_answer(ollama_replies.show(context_length)),
            "/api/version": json_answer({"version": ollama_replies.VERSION}),
            "/api/ps": json_answer(ollama_replies.running(())),
            "/props": json_answer(openai_replies.props()),
            "/v1beta/models?pageSize=1000": json_answer(gemini_replies.model_page(models, context_length)),
        }
        self.route_requests: list[Received] = []
        self.url = ""
        self._script: deque[Answer] = deque()
        self._connections: set[_Connection] = set()
        self._is_over = False
        self._changed = asyncio.Event()

    def add(self, *answers: Answer) -> None:
        """Append to the script."""
        self._script.extend(answers)

    def forget(self) -> None:
        """Drop what is left of the script, and the requests seen: what one test left is no other one's answer."""
        self._script.clear()
        self.requests.clear()
        self.fallback = None

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something that this server counts is so; fails after BOUND_S seconds."""
        async with asyncio.timeout(BOUND_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def close_idle(self) -> None:
        """Close every connection that is not answering, as a server does after its own keep-alive time."""
        for connection in list(self._connections):
            if connection.task is None:
                connection.transport.close()

    async def __aenter__(self) -> Self:
        self._is_over = False
        self._server = await asyncio.get_running_loop().create_server(lambda: _Connection(self), "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        self._is_over = True
        await accept_no_more(self._server)
        for connection in list(self._connections):
            connection.transport.abort()
        await self.until(lambda: not self._connections)
        await self._server.wait_closed()
        if error is None:
            assert not self.violations, self.violations

    def answer_to(self, request: Received) -> Answer:
        """Return the answer to a request; for the connections."""
        if request.path in self.routes:
            self.route_requests.append(request)
            return self.routes[request.path]
        self.requests.append(request)
        self.notify()
        fault = violation(request.path, request.raw)
        if fault is not None:
            self.violations.append(fault)
            return json_answer({"error": {"message": fault, "type": "invalid_request_error"}}, status=400)
        if self._script:
            return self._script.popleft()
        return self.fallback or json_answer({"error": {"message": "the script is used up"}}, status=500)

    def notify(self) -> None:
        """Note that something that `until` may wait for has changed."""
        self._changed.set()

    def joined(self, connection: _Connection) -> None:
        """Count a connection that was opened."""
        self._connections.add(connection)
        if self._is_over:  # it was on its way when all others were closed
            connection.transport.abort()
        self.opened += 1
        self.open += 1
        self.notify()

    def left(self, connection: _Connection, *, aborted: bool) -> None:
        """Count a connection that was closed."""
        self._connections.discard(connection)
        self.open -= 1
        self.aborted += aborted
        self.notify()


class _Connection(asyncio.Protocol):
    """One client's connection, with keep-alive."""

    transport: asyncio.Transport

    def __init__(self, server: ScriptedUpstream) -> None:
        self.task: asyncio.Task[None] | None = None
        self._server = server
        self._buffer = b""
        self._ended_by_us = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._server.joined(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self.task is None:
            self._take_request()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- how it ended does not matter
        self._server.left(self, aborted=self.task is not None and not self._ended_by_us)
        if self.task is not None:
            self.task.cancel()

    def _take_request(self) -> None:
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        method, path, _ = first.split(" ")
        answer = self._server.answer_to(Received(method, path, headers, rest[:length]))
        asked_to_close = headers.get("connection", "").lower() == "close"
        self.task = asyncio.get_running_loop().create_task(self._answer(answer, asked_to_close=asked_to_close))

    async def _answer(self, answer: Answer, *, asked_to_close: bool) -> None:
        chunked = answer.framing == "chunked"
        says_close = asked_to_close or not chunked
        if answer.answers_head:
            framing = {"transfer-encoding": "chunked"} if chunked else {}
            if says_close:
                framing["connection"] = "close"
            lines = [f"{name}: {value}" for name, value in {**answer.headers, **framing}.items()]
            head = "\r\n".join([f"HTTP/1.1 {answer.status} Scripted", *lines, "", ""])
            self.transport.write(head.encode())
        for step in answer.steps:
            if isinstance(step, bytes):
                await self._send(step, answer.split, chunked=chunked)
            elif isinstance(step, asyncio.Event):
                await step.wait()
            elif step is Act.HANG:
                await asyncio.Event().wait()
            else:
                self._end(abort=step is Act.ABORT)
                return
        if chunked:
            self.transport.write(b"0\r\n\r\n")
        self.task = None
        if answer.close_after or says_close:
            self._end(abort=False)
        else:
            self._take_request()

    async def _send(self, data: bytes, split: int | None, *, chunked: bool) -> None:
        size = split or len(data) or 1
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            self.transport.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            await asyncio.sleep(0)  # lets the client read this piece by itself

    def _end(self, *, abort: bool) -> None:
        self._ended_by_us = True
        if abort:
            self.transport.abort()
        else:
            self.transport.close()
