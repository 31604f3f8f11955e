"""Keeping the models of an Ollama server: operations over a real Valkey, pulled from a scripted server."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from shared.models import ollama_operations
from shared.models.ollama_operations import Library, ModelOperation, new_operation
from shared.redis.names import library_leader, library_operations
from shared.settings import Settings
from tests.upstreams.ollama.server import LICENSE_BYTES, OllamaServer
from workers.ollama_models.leader import OperationsLeader
from workers.ollama_models.library import OllamaLibrary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

    from tests.conftest import Eventually

QUEUE = "arq:queue:local:box:11434"
MODEL = "tiny:1b"
SIZE = 1_000_000
SETTINGS = Settings(data_dir=Path("nowhere"), heartbeat_s=0.05, heartbeat_bound_s=30.0, discovery_interval_s=0.1)


@pytest.fixture
async def ollama() -> AsyncIterator[OllamaServer]:
    """Yield a server that could pull MODEL and has nothing yet."""
    async with OllamaServer({MODEL: SIZE, "other:1b": SIZE, "third:1b": SIZE}) as server:
        yield server


class Leader:
    """A worker's part that keeps models; what its backend would offer."""

    def __init__(self, redis: Redis, ollama: OllamaServer, worker_id: str) -> None:
        self.offered: set[str] = set()
        self._ollama = ollama
        library = OperationsLeader(
            SETTINGS, redis, worker_id, QUEUE, OllamaLibrary(ollama.url), on_change=self._rediscover
        )
        self._stop = asyncio.Event()
        self.task = asyncio.create_task(library.run(self._stop))

    async def _rediscover(self) -> None:
        self.offered = set(self._ollama.disk)

    async def stop(self) -> None:
        """End in order, as at a shutdown."""
        self._stop.set()
        await self.task


@asynccontextmanager
async def keeping(redis: Redis, ollama: OllamaServer, *worker_ids: str) -> AsyncIterator[list[Leader]]:
    """Leaders of one backend."""
    leaders = [Leader(redis, ollama, worker_id) for worker_id in worker_ids]
    try:
        yield leaders
    finally:
        for leader in leaders:
            await leader.stop()


async def operation(redis: Redis, kind: str, model: str = MODEL, *, may_be_absent: bool = False) -> ModelOperation:
    """Ask for something."""
    assert kind in {"install", "remove"}
    made = new_operation("install" if kind == "install" else "remove", model, may_be_absent=may_be_absent)
    stands = await ollama_operations.ask(redis, QUEUE, made)
    assert stands is not None
    return stands


async def settled(redis: Redis, asked: ModelOperation, eventually: Eventually) -> ModelOperation:
    """Return how an operation ended."""

    async def ended() -> ModelOperation | None:
        now = await ollama_operations.operation_for(redis, QUEUE, asked.model)
        return now if now is not None and now.id == asked.id and now.is_settled else None

    found: ModelOperation = await eventually(ended)
    return found


async def the_library(redis: Redis) -> Library:
    """Return the backend as the api sees it."""
    (library,) = await ollama_operations.libraries(redis, [QUEUE])
    return library


async def test_a_model_is_installed_with_progress_and_offered_at_once(
    redis: Redis, ollama: OllamaServer, eventually: Eventually
) -> None:
    """While it is pulled everyone can see how far; once it is said to be done the backend has it."""
    ollama.is_held = True
    async with keeping(redis, ollama, "aa") as (leader,):
        asked = await operation(redis, "install")

        async def half() -> bool:
            now = await ollama_operations.operation_for(redis, QUEUE, MODEL)
            return now is not None and now.state == "running" and now.completed_bytes == SIZE // 2

        await eventually(half)
        assert (await ollama_operations.operation_for(redis, QUEUE, MODEL) or asked).total_bytes == SIZE
        ollama.go_on.set()
        done = await settled(redis, asked, eventually)
        assert (done.state, done.completed_bytes) == ("done", SIZE + LICENSE_BYTES)
        assert leader.offered == {MODEL}
        state = (await the_library(redis)).state
        assert state is not None
        assert [(model.name, model.size_bytes) for model in state.models] == [(MODEL, SIZE + LICENSE_BYTES)]
        assert state.free_ram_bytes is None or state.free_ram_bytes > 0


async def test_of_many_workers_one_pulls(redis: Redis, ollama: OllamaServer, eventually: Eventually) -> None:
    """However many serve the backend, and however often it is asked for."""
    ollama.is_held = True
    async with keeping(redis, ollama, "aa", "bb", "cc"):
        asked = await operation(redis, "install")
        await ollama.until(lambda: ollama.pulling == 1)
        assert (await operation(redis, "install")).id == asked.id
        ollama.go_on.set()
        await settled(redis, asked, eventually)
    assert (ollama.pulled, ollama.most_pulling) == ([MODEL], 1)


async def test_a_pull_goes_on_when_its_worker_ends(redis: Redis, ollama: OllamaServer, eventually: Eventually) -> None:
    """In order: the next one need not wait until the care for the backend expires."""
    ollama.is_held = True
    first = Leader(redis, ollama, "aa")
    asked = await operation(redis, "install")
    await ollama.until(lambda: ollama.pulling == 1)
    await first.stop()
    assert await redis.get(library_leader(QUEUE)) is None
    await ollama.until(lambda: ollama.pulling == 0)
    ollama.go_on.set()
    async with keeping(redis, ollama, "bb"):
        assert (await settled(redis, asked, eventually)).state == "done"
    assert ollama.pulled == [MODEL, MODEL]


async def test_who_follows_a_silent_leader_stops_it(redis: Redis, ollama: OllamaServer, eventually: Eventually) -> None:
    """A worker that was away for longer than the bound leaves the pull to the other."""
    ollama.is_held = True
    async with keeping(redis, ollama, "aa"):
        asked = await operation(redis, "install")
        await ollama.until(lambda: ollama.pulling == 1)
        await redis.set(library_leader(QUEUE), b"bb", px=60_000)
        await ollama.until(lambda: ollama.pulling == 0)
        assert (await ollama_operations.operation_for(redis, QUEUE, MODEL) or asked).state == "running"
        ollama.go_on.set()
        await redis.delete(library_leader(QUEUE))
        assert (await settled(redis, asked, eventually)).state == "done"


@pytest.mark.parametrize("error", [None, "write /models/blobs/sha256-aaa-partial: no space left on device"])
async def test_what_ollama_refuses_has_failed_with_its_words(
    redis: Redis, ollama: OllamaServer, eventually: Eventually, error: str | None
) -> None:
    """An unknown model, a full disk: not tried again by itself, but on the next operation."""
    name = "nosuch:1b"
    if error is not None:
        ollama.errors[name] = error
    async with keeping(redis, ollama, "aa"):
        failed = await settled(redis, await operation(redis, "install", name), eventually)
        assert (failed.state, failed.error) == ("failed", error or "pull model manifest: file does not exist")
        assert ollama.pulled == [name]
        ollama.errors.clear()
        ollama.library[name] = SIZE
        assert (await settled(redis, await operation(redis, "install", name), eventually)).state == "done"


async def test_a_broken_connection_is_tried_again(redis: Redis, ollama: OllamaServer, eventually: Eventually) -> None:
    """Ollama goes on where it was."""
    ollama.breaks = 1
    async with keeping(redis, ollama, "aa"):
        assert (await settled(redis, await operation(redis, "install"), eventually)).state == "done"
    assert ollama.pulled == [MODEL, MODEL]


async def test_a_model_is_removed_and_no_longer_offered(
    redis: Redis, ollama: OllamaServer, eventually: Eventually
) -> None:
    """One that is not there is unknown, unless that is fine."""
    ollama.disk[MODEL] = SIZE
    async with keeping(redis, ollama, "aa"):
        assert (await settled(redis, await operation(redis, "remove"), eventually)).state == "done"
        assert ollama.disk == {}
        again = await settled(redis, await operation(redis, "remove"), eventually)
        assert (again.state, again.is_unknown) == ("failed", True)
        fine = await settled(redis, await operation(redis, "remove", may_be_absent=True), eventually)
        assert (fine.state, fine.is_unknown) == ("done", False)


async def test_a_removal_stops_the_pull(redis: Redis, ollama: OllamaServer, eventually: Eventually) -> None:
    """Its connection is closed, so that Ollama stops loading."""
    ollama.is_held = True
    async with keeping(redis, ollama, "aa"):
        await operation(redis, "install")
        await ollama.until(lambda: ollama.pulling == 1)
        removal = await operation(redis, "remove", may_be_absent=True)
        await ollama.until(lambda: ollama.pulling == 0)
        assert (await settled(redis, removal, eventually)).state == "done"
    assert (ollama.aborted, ollama.disk) == (1, {})


async def test_pulls_beyond_two_wait_their_turn(redis: Redis, ollama: OllamaServer, eventually: Eventually) -> None:
    """In the order in which they were asked for."""
    ollama.is_held = True
    async with keeping(redis, ollama, "aa"):
        asked = [await operation(redis, "install", name) for name in (MODEL, "other:1b", "third:1b")]
        await ollama.until(lambda: ollama.pulling == 2)
        ollama.go_on.set()
        for one in asked:
            assert (await settled(redis, one, eventually)).state == "done"
    assert (ollama.pulled[2], ollama.most_pulling) == ("third:1b", 2)


async def test_a_server_that_does_not_answer_is_reported_to_be_away(redis: Redis, eventually: Eventually) -> None:
    """It has no models then, and is looked at again."""
    async with OllamaServer(disk={MODEL: SIZE}) as ollama:
        leader = Leader(redis, ollama, "aa")

        async def reachable() -> bool:
            return (await the_library(redis)).is_reachable

        await eventually(reachable)

    async def away() -> bool:
        library = await the_library(redis)
        return library.state is not None and not library.is_reachable and library.state.models == ()

    await eventually(away)
    await leader.stop()


async def test_words_of_another_version_are_passed_over(
    redis: Redis, ollama: OllamaServer, eventually: Eventually
) -> None:
    """Neither the api nor a leader stumbles on them; a new operation takes their place."""
    await redis.hset(library_operations(QUEUE), mapping={MODEL: b"not json", "x": b"7", "y": b'{"id": "1"}'})  # type: ignore[misc]  # redis-py: or awaitable
    assert (await the_library(redis)).operations == ()
    async with keeping(redis, ollama, "aa"):
        assert (await settled(redis, await operation(redis, "install"), eventually)).state == "done"


async def test_there_is_a_bound_on_operations(redis: Redis) -> None:
    """So that nobody fills Redis; those that stand can still be changed."""
    for number in range(ollama_operations.MOST_OPERATIONS):
        await operation(redis, "install", f"m:{number}")
    assert await ollama_operations.ask(redis, QUEUE, new_operation("install", "one:more")) is None
    await operation(redis, "remove", "m:0")


async def test_progress_of_an_older_operation_does_not_stand(redis: Redis) -> None:
    """A worker that comes late neither overwrites nor forgets what was asked for since."""
    older = await operation(redis, "install")
    assert await ollama_operations.note(redis, QUEUE, replace(older, state="running"))
    newer = await operation(redis, "remove")
    assert not await ollama_operations.note(redis, QUEUE, replace(older, state="done"))
    await ollama_operations.forget(redis, QUEUE, older)
    assert await ollama_operations.operation_for(redis, QUEUE, MODEL) == newer


async def test_how_an_operation_ended_is_forgotten_in_time(
    redis: Redis, ollama: OllamaServer, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that an old failure is not shown for good."""
    async with keeping(redis, ollama, "aa"):
        await settled(redis, await operation(redis, "install", "nosuch:1b"), eventually)
        assert (await the_library(redis)).operations != ()
        monkeypatch.setattr(ollama_operations, "SETTLED_LIFE_S", 0.0)

        async def forgotten() -> bool:
            return (await the_library(redis)).operations == ()

        await eventually(forgotten)
