"""The small listener of a process: `/metrics` for Prometheus, and `/metrics/targets` for its HTTP service discovery.

Not part of the api: it is for the operator, so it listens at an address of its own, and workers have no other one.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from shared.process.threads import in_thread
from shared.redis.client import UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

    Source = Callable[[], Awaitable[Iterable[Metric]]]
    Document = Callable[[], Awaitable[bytes]]

_log = logging.getLogger(__name__)

HEAD_BYTES: Final = 8 * 1024
HEAD_S: Final = 5.0
ANSWER_S: Final = 8.0
"""Less than the 10 s that Prometheus waits."""
MOST_CONNECTIONS: Final = 16
RETRY_S: Final = 5.0
_PLAIN: Final = "text/plain; charset=utf-8"


class Gathered:
    """The metrics of the latest scrape, as a collector of the registry."""

    def __init__(self) -> None:
        self.families: Sequence[Metric] = ()

    def collect(self) -> Iterable[Metric]:
        return self.families


class MetricsListener:
    """Serves one process's metrics.

    Args:
        registry: its counters.
        sources: what is read at each scrape; one that has no Redis gives nothing.
        targets: JSON that lists all processes.
    """

    def __init__(self, registry: CollectorRegistry, sources: Sequence[Source], targets: Document) -> None:
        self._registry = registry
        self._sources = sources
        self._targets = targets
        self._gathered = Gathered()
        registry.register(self._gathered)
        self._one_at_a_time = asyncio.Lock()
        self._connections = 0

    async def serve(self, host: str, port: int) -> None:
        """Listen for good. A port that is taken is tried again: a predecessor may be ending."""
        while True:
            try:
                server = await asyncio.start_server(self._connected, host, port, limit=HEAD_BYTES)
            except OSError as error:
                _log.warning("metrics: cannot listen on %s:%d yet: %s", host, port, error.strerror or error)
                await asyncio.sleep(RETRY_S)
                continue
            _log.info("metrics: listening on http://%s:%d/metrics", host, port)
            async with server:
                await server.serve_forever()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections <= MOST_CONNECTIONS:
                async with asyncio.timeout(HEAD_S + ANSWER_S):
                    await self._answer(reader, writer)
        except TimeoutError:
            # Closing waits until all is sent: who does not read would keep the connection, and what is buffered.
            writer.transport.abort()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asked is gone, or asks for nothing
        finally:
            self._connections -= 1
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(HEAD_S):
            head = await reader.readuntil(b"\r\n\r\n")
        method, _, rest = head.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        status, kind, body = "200 OK", _PLAIN, b""
        if method not in {b"GET", b"HEAD"}:
            status, body = "405 Method Not Allowed", b"GET only\n"
        elif path == b"/metrics":
            kind, body = CONTENT_TYPE_LATEST, await self.exposition()
        elif path == b"/metrics/targets":
            kind, body = "application/json", await self._targets()
        else:
            status, body = "404 Not Found", b"/metrics and /metrics/targets are here\n"
        text = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        writer.write(text.encode() + (b"" if method == b"HEAD" else body))
        await writer.drain()

    async def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        # The registry collects what the latest scrape has gathered: two at once would get each other's.
        async with self._one_at_a_time:
            families: list[Metric] = []
            for source in self._sources:
                # What cannot be read now is not there, which Prometheus can tell from a 0.
                with suppress(*UNREACHABLE):
                    async with asyncio.timeout(ANSWER_S / 2):
                        families += await source()
            self._gathered.families = families
            # Thousands of series would hold the event loop for too long.
            return await in_thread(generate_latest, self._registry)
