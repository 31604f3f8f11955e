"""Two api processes behind a load balancer are restarted under load, one after the other: no request fails."""

from __future__ import annotations

import asyncio
import csv
import io
from collections import Counter
from typing import TYPE_CHECKING

import httpx
import pytest

from cli.up.ports import free_port
from tests.balancers import haproxy, nginx, on_the_page
from tests.fleet import PATIENCE_S, Fleet, Process, chat, ready
from tests.streams import content, events
from tests.upstreams.numbered import NumberedUpstream, words

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.conftest import Eventually

pytestmark = pytest.mark.debian

CLIENTS = 16
TOKENS = 5
_STATISTICS = """
frontend statistics
    bind 127.0.0.1:{port}
    stats enable
    stats uri /
"""


class Load:
    """Clients that ask short questions, streamed and not, one after the other on connections that they keep.

    Attributes:
        ends: how requests ended, and how many did so.
    """

    def __init__(self, url: str, key: str) -> None:
        self.ends: Counter[str] = Counter()
        self._url = url
        self._key = key
        self._enough = asyncio.Event()
        self._tasks = [asyncio.create_task(self._ask(stream=number % 2 == 0)) for number in range(CLIENTS)]

    async def stop(self) -> None:
        """Let each client end its last question."""
        self._enough.set()
        await asyncio.gather(*self._tasks)

    async def _ask(self, *, stream: bool) -> None:
        headers = {"authorization": f"Bearer {self._key}"}
        async with httpx.AsyncClient(base_url=self._url, headers=headers, timeout=60, trust_env=False) as client:
            while not self._enough.is_set():
                try:
                    reply = await client.post("/v1/chat/completions", json=chat(stream=stream))
                except httpx.TransportError as error:
                    self.ends[repr(error)] += 1
                    continue
                self.ends[_end(reply, stream=stream)] += 1


def _end(reply: httpx.Response, *, stream: bool) -> str:
    if reply.status_code != 200:
        return f"{reply.status_code} {reply.text}"
    said = content(events(reply.text)) if stream else reply.json()["choices"][0]["message"]["content"]
    return "whole" if said == words(TOKENS) else f"said {said!r}"


async def _restart(fleet: Fleet, api: Process, port: int, eventually: Eventually) -> None:
    """Restart an api process as a supervisor does, and wait until it can serve."""
    api.terminate()
    assert await api.process.wait() == 0
    await ready(await fleet.api(CLAW_PORT=str(port)), eventually)


async def _roll(
    fleet: Fleet,
    ports: list[int],
    url: str,
    eventually: Eventually,
    are_up: Callable[[], Awaitable[bool]] | None = None,
) -> Counter[str]:
    """Restart all api processes, one after the other, under load; return how its requests ended."""
    apis = fleet.processes[: len(ports)]
    load = Load(url, await fleet.key())
    await eventually(lambda: load.ends["whole"] > 2 * CLIENTS)
    for api, port in zip(apis, ports, strict=True):
        await _restart(fleet, api, port, eventually)
        if are_up is not None:
            await eventually(are_up)
        before = load.ends.total()
        await eventually(lambda before=before: load.ends.total() > before + 2 * CLIENTS)  # type: ignore[misc]  # bound in the loop
    await load.stop()
    return load.ends


@pytest.fixture
def fleet_environment() -> dict[str, str]:
    """Return the default: as long as a balancer may take to notice."""
    return {"CLAW_DRAIN_DELAY_S": "5"}


@pytest.fixture
async def ports(fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually) -> list[int]:
    """Return those of two api processes that are ready, with two workers and a recorder."""
    upstream.tokens = TOKENS
    found = [free_port(), free_port()]
    apis = [await fleet.api(CLAW_PORT=str(port)) for port in found]
    for _ in range(2):
        await fleet.worker()
    await fleet.recorder()
    for api in apis:
        await ready(api, eventually)
    return found


async def test_no_request_fails_behind_haproxy(
    fleet: Fleet, ports: list[int], tmp_path: Path, eventually: Eventually
) -> None:
    """Its health check sees `draining`, and it sends new requests to the other one."""
    port, statistics = free_port(), free_port()
    sections = on_the_page("defaults", ports, port) + _STATISTICS.format(port=statistics)

    async def both_are_up() -> bool:
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client:
            listed = (await client.get(f"http://127.0.0.1:{statistics}/;csv")).text.removeprefix("# ")
        rows = csv.DictReader(io.StringIO(listed))
        return [row["status"] for row in rows if row["svname"] in {"one", "two"}] == ["UP", "UP"]

    async with haproxy(tmp_path, sections, port, eventually):
        await eventually(both_are_up)
        ends = await _roll(fleet, ports, f"http://127.0.0.1:{port}", eventually, both_are_up)
    assert set(ends) == {"whole"}, ends


async def test_no_request_fails_behind_nginx(
    fleet: Fleet, ports: list[int], tmp_path: Path, eventually: Eventually
) -> None:
    """It has no health check: it finds nobody listening, and asks the other one."""
    port = free_port()
    async with nginx(tmp_path, on_the_page("upstream api {", ports, port), port, eventually):
        ends = await _roll(fleet, ports, f"http://127.0.0.1:{port}", eventually)
    assert set(ends) == {"whole"}, ends
