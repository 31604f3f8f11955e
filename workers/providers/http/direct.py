"""HTTP/1.1 to model servers of one's own, without TLS: one task, no layer between the socket and the lines of a reply.

aiohttp spends 300 us on a reply of 64 chunks, most of it on each chunk (docs/decisions/0032-direct-http.md).
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from functools import lru_cache, partial
from typing import Final

import httpx
from aiohappyeyeballs import start_connection

from shared.process.tasks import Pauses
from workers.providers.http.bodies import Head, read_head, unreadable
from workers.providers.http.connection import Connection
from workers.providers.http.portions import PORTION_BYTES

CONNECT_S: Final = 10.0
NEXT_ADDRESS_S: Final = 0.25
"""Until the next address of a name is tried beside one that does not answer."""
IDLE_S: Final = 15.0
STALE_S: Final = 5.0
"""Time in which a connection ends that had been closed while it was idle; later the server may have begun to work."""


class ClosedWhileIdle(httpx.ReadError):
    """A connection that was kept had been closed when a request was sent: the server has not begun to answer."""


class DirectReply:
    """A reply whose body is still to be read, with what `Reply` asks of one of httpx's.

    Args:
        head: its head.
        rest: what came behind the head.
        connection: where the body comes from.
        pool: gets the connection back, if it can serve again.
    """

    def __init__(self, head: Head, rest: bytes, connection: Connection, pool: DirectClient) -> None:
        self.status_code, self.headers = head.status, head.headers
        self.is_success = head.status // 100 == 2
        self._head, self._body = head, head.body
        self._rest = rest
        self._pause = Pauses()
        self._connection: Connection | None = connection
        self._pool = pool

    async def read(self) -> bytes | None:
        """Return the next content, None at the end; not much of it at a time.

        Raises:
            httpx.HTTPError, OSError: it broke off.
        """
        while not self._body.is_over and self._connection is not None:
            if self._rest:
                await self._pause()
            data = self._rest or await self._connection.read()
            data, self._rest = data[:PORTION_BYTES], data[PORTION_BYTES:]
            if not data:
                self._body.end()
            elif content := self._body.decode(data):
                return content
        return None

    def ends_now(self) -> bool:
        """Read what has come already; return whether that is the end and nothing else."""
        body, connection = self._body, self._connection
        if connection is not None and not body.is_over and (self._rest or connection.has_data):
            self._rest = self._rest or connection.take()
            if len(self._rest) > PORTION_BYTES:
                return False
            data, self._rest = self._rest, b""
            return not body.decode(data) and body.is_over
        return body.is_over

    async def aclose(self) -> None:
        """Give the connection back if all has been read, else close it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.give_back(connection, is_good=self._body.is_clean and self._head.may_stay and not self._rest)


class DirectClient:
    """Sends requests to one server.

    Args:
        base_url: `http://`, a host, and what paths are appended to.
        headers: sent with every request.
        connections: how many may be open at once; further requests wait.

    Raises:
        httpx.InvalidURL: the base URL is none.
        httpx.LocalProtocolError: a header cannot be sent.
    """

    def __init__(self, base_url: str, *, headers: dict[str, str], connections: int) -> None:
        url = httpx.URL(base_url)
        self._host, self._port = url.host, url.port or 80
        self._path = url.raw_path.rstrip(b"/")
        fields = {"host": url.netloc.decode("ascii"), "accept": "*/*", **headers}
        if any("\r" in value or "\n" in value or "\0" in value for value in fields.values()):
            raise httpx.LocalProtocolError("a header has a line end in it")
        self._fields = "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode()
        self._may_keep = headers.get("connection", "") != "close"
        self._idle: deque[Connection] = deque()
        self._room = asyncio.Semaphore(connections)
        self._cleaning: asyncio.TimerHandle | None = None

    async def send(self, method: str, path: str, content: bytes | None) -> DirectReply:
        """Send a request; return its reply, whose body is not read yet and which the caller closes.

        Raises:
            httpx.HTTPError, OSError: no reply came.
        """
        await self._room.acquire()
        connection = None
        try:
            connection = self._kept() or await self._connect()
            connection.transport.write(self._request(method, path, content))
            return await self._reply(connection)
        except BaseException:
            self._room.release()
            if connection is not None:
                connection.transport.abort()
            raise

    def give_back(self, connection: Connection, *, is_good: bool) -> None:
        """Take back the connection of a reply; another request may use it if `is_good`."""
        self._room.release()
        is_open = not connection.has_data and not connection.is_closed
        # A server may answer before it has read all of a request: the rest of it would be taken for the next one.
        if not (is_good and is_open and self._may_keep) or connection.transport.get_write_buffer_size():
            connection.transport.abort()
            return
        connection.watch()
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.append(connection)
        if self._cleaning is None:
            self._cleaning = asyncio.get_running_loop().call_later(IDLE_S, self._clean)

    async def close(self) -> None:
        """Close what is kept, and what is given back later."""
        self._may_keep = False
        if self._cleaning is not None:
            self._cleaning.cancel()
        while self._idle:
            self._idle.pop().transport.abort()

    def _request(self, method: str, path: str, content: bytes | None) -> bytes:
        target = self._path + _target(path)
        length = b"content-length: %d\r\n" % len(content) if content is not None else b""
        head = b"%s %s HTTP/1.1\r\n%s%s\r\n" % (method.encode("ascii"), target, self._fields, length)
        return head + (content or b"")

    async def _reply(self, connection: Connection) -> DirectReply:
        was_used, connection.is_used = connection.is_used, True
        now = asyncio.get_running_loop().time
        data, end_of_idle = b"", now() + STALE_S
        while (head := read_head(data) if data else None) is None:
            try:
                more = await connection.read()
            except OSError as error:
                is_stale = was_used and not data and now() < end_of_idle
                raise (ClosedWhileIdle if is_stale else httpx.ReadError)(str(error)) from error
            if not more:
                if data:
                    raise unreadable("the connection ended in its head")
                is_stale = was_used and now() < end_of_idle
                raise (ClosedWhileIdle if is_stale else httpx.ReadError)("Server disconnected")
            data += more
        return DirectReply(head, data[head.size :], connection, self)

    def _kept(self) -> Connection | None:
        # The one that was used last: the others grow old and go.
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed and not connection.has_data:
                return connection
            connection.transport.abort()
        return None

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_S):
                addresses = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
                opened = await start_connection(addresses, happy_eyeballs_delay=NEXT_ADDRESS_S)
                _, connection = await loop.create_connection(partial(Connection, opened), sock=opened)
        except TimeoutError as error:
            raise httpx.ConnectTimeout(f"no connection within {CONNECT_S:g} s") from error
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error
        return connection

    def _clean(self) -> None:
        """Close those that have been idle for long."""
        loop = asyncio.get_running_loop()
        self._cleaning = None
        while self._idle and (self._idle[0].is_closed or loop.time() - self._idle[0].idle_since >= IDLE_S):
            self._idle.popleft().transport.abort()
        if self._idle:
            self._cleaning = loop.call_later(IDLE_S, self._clean)


@lru_cache(maxsize=256)
def _target(path: str) -> bytes:
    """Return a path with its query as it stands in a request."""
    return httpx.URL(path).raw_path
