"""The listener of metrics: two documents, and whatever else comes harms nothing."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter

from cli.up.ports import free_port
from shared.process.metrics import listener
from shared.process.metrics.families import gauge
from shared.process.metrics.listener import MetricsListener
from shared.process.metrics.targets import Targets
from shared.process.tasks import end_all

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest
    from prometheus_client.core import Metric
    from redis.asyncio import Redis

    from tests.conftest import Eventually


async def _fails() -> list[Metric]:
    raise ConnectionError("Redis is away")


async def _gives() -> list[Metric]:
    return [gauge("claw_given", "Given.", ("name",), [(('a"\n\\b',), 3)])]


async def _targets() -> bytes:
    return b"[]"


@asynccontextmanager
async def _listening() -> AsyncIterator[int]:
    registry = CollectorRegistry()
    Counter("claw_counted", "Counted.", registry=registry).inc()
    port = free_port()
    served = asyncio.create_task(MetricsListener(registry, [_fails, _gives], _targets).serve("127.0.0.1", port))
    try:
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                break
        yield port
    finally:
        await end_all(served)


async def _said(port: int, head: bytes, *, ends: bool = True) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head)
    if ends:
        writer.write_eof()
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def test_metrics_are_there_without_what_a_source_cannot_give() -> None:
    """Redis being away takes away only what it knows; names are escaped."""
    async with _listening() as port:
        said = await _said(port, b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=")
    assert f"content-length: {len(body)}\r\n".encode() in head
    assert b"claw_counted_total 1.0\n" in body
    assert b'claw_given{name="a\\"\\n\\\\b"} 3.0\n' in body


async def test_all_else_has_a_status() -> None:
    """A wrong path, a wrong method, HEAD."""
    async with _listening() as port:
        assert (await _said(port, b"GET /metrics/targets?x=1 HTTP/1.0\r\n\r\n")).endswith(b"\r\n\r\n[]")
        assert (await _said(port, b"GET / HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 404 ")
        assert (await _said(port, b"POST /metrics HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 405 ")
        assert (await _said(port, b"HEAD /metrics HTTP/1.1\r\n\r\n")).endswith(b"\r\n\r\n")


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.binary(max_size=200), max_size=3), st.integers(0, 3))
async def test_no_bytes_stop_it(pieces: list[bytes], heads: int) -> None:
    """Anything, of any length, with ends of heads in it."""
    async with _listening() as port:
        await _said(port, (b"\r\n\r\n" * heads).join(pieces) * 50)
        assert b"claw_counted_total" in await _said(port, b"GET /metrics HTTP/1.1\r\n\r\n")


async def test_connections_are_bounded_and_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that say nothing are closed after a while, and more than so many at once."""
    monkeypatch.setattr(listener, "HEAD_S", 0.3)
    async with _listening() as port:
        silent = [asyncio.create_task(_said(port, b"GET", ends=False)) for _ in range(listener.MOST_CONNECTIONS + 5)]
        assert await asyncio.gather(*silent) == [b""] * len(silent)
        assert b"claw_counted_total" in await _said(port, b"GET /metrics HTTP/1.1\r\n\r\n")


async def test_who_asks_and_does_not_read_is_let_go(monkeypatch: pytest.MonkeyPatch, eventually: Eventually) -> None:
    """With what is buffered for it: a connection that waits until all is sent would stay for good."""
    monkeypatch.setattr(listener, "ANSWER_S", 0.2)
    monkeypatch.setattr(listener, "HEAD_S", 0.1)
    monkeypatch.setattr(f"{__name__}._targets", _endless)
    async with _listening() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(b"GET /metrics/targets HTTP/1.1\r\n\r\n")
        assert await reader.read(1) == b"H"
        await eventually(lambda: "_connected" not in _running())
        writer.transport.abort()


async def _endless() -> bytes:
    return bytes(32 * 1024 * 1024)


def _running() -> set[str]:
    """Return the names of what runs in tasks."""
    return {getattr(task.get_coro(), "__name__", "") for task in asyncio.all_tasks()}


async def test_a_port_that_is_taken_is_taken_later(monkeypatch: pytest.MonkeyPatch, eventually: Eventually) -> None:
    """A predecessor ends."""
    monkeypatch.setattr(listener, "RETRY_S", 0.02)
    port = free_port()
    async with await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", port):
        served = asyncio.create_task(MetricsListener(CollectorRegistry(), [_gives], _targets).serve("127.0.0.1", port))
        await asyncio.sleep(0)

    async def answers() -> bool:
        try:
            return b"claw_given" in await _said(port, b"GET /metrics HTTP/1.1\r\n\r\n")
        except OSError:
            return False

    await eventually(answers)
    await end_all(served)


async def test_targets_of_other_machines_are_listed_where_they_can_be_reached(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not their loopback addresses; an own address by the machine's name where any is listened at."""
    processes = []
    for machine, host, port in (
        ("here", "127.0.0.1", 1),
        ("there", "127.0.0.1", 2),
        ("there", "::", 3),
        ("v6", "fd00::1", 4),
    ):
        monkeypatch.setattr("shared.process.metrics.targets.host_name", lambda machine=machine: machine)
        targets = Targets(redis, "api", host, port)
        processes.append((targets, asyncio.create_task(targets.announce())))
    here = processes[0][0]

    async def listed() -> list[str]:
        return sorted(entry["targets"][0] for entry in json.loads(await here.document()))

    while len(await listed()) < 3:
        await asyncio.sleep(0.01)
    assert await listed() == ["127.0.0.1:1", "[fd00::1]:4", "there:3"]
    await end_all(*(task for _, task in processes))
    await processes[2][0].withdraw()
    assert await listed() == ["127.0.0.1:1", "[fd00::1]:4"]
