"""Twenty thousand requests with failures of every kind mixed in: all are logged, and nothing grows."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from api.relay.delivery import Delivery
from api.relay.incoming import IncomingStream
from api.requests.context import RequestContext
from api.requests.lifecycle import InflightRequest
from api.requests.queued_job import QueuedJob
from cli.up.ports import free_port
from shared.openai.request import ChatRequest
from shared.postgres.database import Database
from shared.postgres.keys import KeyStore
from shared.redis import client as redis_client
from shared.types import Job, JobDraft
from shared.usage import UsageRecord
from tests.chaos.soak import STATUS, Client, SoakUpstream, kinds
from tests.fleet import Fleet, Process, ready
from workers.accounts.account import Lease
from workers.attempts.attempt import Attempt
from workers.relay.outgoing import OutgoingStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from redis.asyncio import Redis

    from cli.up.embedded.valkey import EmbeddedValkey
    from tests.conftest import Eventually

WARM_UP, MEASURED, MEASURED_LONG = 2_000, 18_000, 300_000
AT_ONCE = 64
CUT_EVERY = 900
"""After so many requests all subscriptions of all processes are cut."""

# What may grow between the two measurements. A leak for each request of one kind would show as 450 or more.
MORE_FILES = 40  # pools of connections that had not reached their bounds
MORE_TASKS = 20
MORE_OBJECTS = 100  # of one class of ours
MORE_RSS_KIB = 6 * 1024  # 1 MiB was seen; 0.35 KiB for each request would be more
MORE_REDIS_KIB = 4 * 1024
GONE = {
    f"{kind.__module__}.{kind.__qualname__}"
    for kind in (
        RequestContext, InflightRequest, QueuedJob, IncomingStream, Delivery,
        Attempt, OutgoingStream, Lease, ChatRequest, UsageRecord, Job, JobDraft,
    )
}  # fmt: skip
"""Of these none may be left soon after the last request: as soon as the last frames are acknowledged."""


class State(NamedTuple):
    """What one process holds: open files, resident memory in KiB, living objects by class."""

    files: int
    rss_kib: int
    living: Counter[str]


class Soak:
    """The processes under load."""

    def __init__(
        self, fleet: Fleet, redis: Redis, upstream: SoakUpstream, *, directory: Path, eventually: Eventually
    ) -> None:
        self.fleet = fleet
        self._directory = directory
        self.redis = redis
        self.upstream = upstream
        self.processes: dict[str, Process] = {}
        self.keys: dict[int, str] = {}
        self.key_ids: dict[str, int] = {}
        self.left = ""
        self._eventually = eventually

    async def start(self) -> None:
        """Start one api, one worker, one recorder, and a key for each status that is expected."""
        port = free_port()
        commands = {"api": ["api"], "worker": ["workers", "local"], "recorder": ["workers", "recorder"]}
        for name, command in commands.items():
            counted = ["tests.chaos.counted", str(self._directory / f"{name}.json"), *command]
            self.processes[name] = self.fleet.start(name, counted, port, {"CLAW_PORT": str(port)})
        async with Database(self.fleet._database_url) as database:
            for status in sorted(set(STATUS.values())):
                created, self.keys[status] = await KeyStore(database).create(f"status {status}", rpm_limit=1_000_000)
                self.key_ids[created.id] = status
        await ready(self.processes["api"], self._eventually)

    async def run(self, count: int) -> None:
        """Send so many requests, cutting all subscriptions now and then, and wait until none of them is open."""
        port = int(self.processes["api"].url.rpartition(":")[2])
        mixed = iter(kinds(count))
        for start in range(0, count, CUT_EVERY):
            some = iter(list(itertools.islice(mixed, CUT_EVERY)))
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(Client(port, self.keys, self.upstream).work(some))
                if start:
                    group.create_task(self._cut())
        await self._settled(self._is_quiet)

    async def _settled(self, condition: Callable[[], Awaitable[bool]]) -> None:
        try:
            await self._eventually(condition)
        except AssertionError:
            pytest.fail(self.left)

    async def _cut(self) -> None:
        await self._eventually(lambda: self.upstream.arrived)
        await self.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")  # type: ignore[no-untyped-call]  # redis-py has no types here

    async def _is_quiet(self) -> bool:
        names = [name async for name in self.redis.scan_iter("*", count=1000)]
        busy = (b"arq:job:", b"arq:in-progress:", b"claw:open:")
        left = [name for name in names if name.startswith(busy)]
        usage = await self.redis.xlen("claw:usage")
        self.left = f"Redis still has {left[:10]} and {usage} entries of usage"
        return not left and usage == 0

    async def logged(self) -> tuple[Counter[tuple[int, int]], int]:
        """Rows of the usage log by the status expected for their key and their own, and how many different requests."""
        rows = await self.fleet.usage()
        found = Counter((self.key_ids[str(row["key_id"])], row["status"]) for row in rows)
        return found, len({row["request_id"] for row in rows})

    async def redis_state(self) -> tuple[list[str], int]:
        """Return the keys that there are, without those of a minute, and how much memory they take, in KiB."""
        rates = [name async for name in self.redis.scan_iter("claw:rate:*")]
        await self.redis.delete(*rates)
        memory = await self.redis.info("memory")
        # Refusals are counted in a key a minute, which goes by itself.
        names = [name.decode() async for name in self.redis.scan_iter("*") if not name.startswith(b"claw:rows:")]
        return sorted(names), memory["used_memory"] // 1024

    async def state(self, name: str) -> State:
        """Return what a process holds once it has let go of all requests."""
        process = self.processes[name].process
        file = self._directory / f"{name}.json"

        async def living() -> Counter[str]:
            file.unlink(missing_ok=True)
            process.send_signal(signal.SIGUSR2)
            await self._eventually(file.exists)
            return Counter(json.loads(file.read_text()))

        async def none_is_left() -> bool:
            left = {kind: count for kind, count in (await living()).items() if kind in GONE}
            self.left = f"{name} still has {left}"
            return not left

        await self._settled(none_is_left)
        return _state(process.pid, await living())


def _state(pid: int, living: Counter[str]) -> State:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    rss_kib = pages * os.sysconf("SC_PAGE_SIZE") // 1024
    return State(len(list(Path(f"/proc/{pid}/fd").iterdir())), rss_kib, living)


@pytest.fixture
async def soak(
    tmp_path: Path, valkey: EmbeddedValkey, database_url: str, eventually: Eventually
) -> AsyncIterator[Soak]:
    """Yield the processes, started."""
    redis = redis_client.connect(valkey.url())
    try:
        async with SoakUpstream() as upstream:
            environment = {"CLAW_LOCAL_OPENAI_URL": upstream.url, "CLAW_LOG_LEVEL": "ERROR"}
            async with Fleet(tmp_path, valkey.url(), database_url, environment) as fleet:
                soak = Soak(fleet, redis, upstream, directory=tmp_path, eventually=eventually)
                await soak.start()
                yield soak
    finally:
        await redis_client.close(redis)


@pytest.mark.soak
@pytest.mark.hang_bound_s(7200)
async def test_many_requests_with_failures_leave_nothing_behind(soak: Soak, *, is_long: bool) -> None:
    """Each is in the log once with its status; files, memory, tasks, objects and Redis are as after the warm-up."""
    measured = MEASURED_LONG if is_long else MEASURED
    await soak.run(WARM_UP)
    before = {name: await soak.state(name) for name in soak.processes}
    keys_before, memory_before = await soak.redis_state()
    await soak.run(measured)
    after = {name: await soak.state(name) for name in soak.processes}
    keys_after, memory_after = await soak.redis_state()

    expected = Counter((STATUS[kind], STATUS[kind]) for kind in [*kinds(WARM_UP), *kinds(measured)])
    assert await soak.logged() == (expected, WARM_UP + measured)
    assert len(keys_after) <= len(keys_before), (keys_before, keys_after)
    assert memory_after - memory_before < MORE_REDIS_KIB
    for name, state in after.items():
        _compare(before[name], state)


def _compare(before: State, after: State) -> None:
    grown = {
        name: (before.living[name], count)
        for name, count in after.living.items()
        if count - before.living[name] > (MORE_TASKS if name == "Task" else MORE_OBJECTS)
    }
    assert grown == {}
    assert after.files - before.files < MORE_FILES
    assert after.rss_kib - before.rss_kib < MORE_RSS_KIB
