"""Sees to the models on the disks of the Ollama servers that this process serves.

Each backend has one keeper among its workers: it looks at what the server has, and does what is wished for. A keeper
that falls silent is followed by another worker after `CLAW_HEARTBEAT_BOUND_S`, which goes on with the wishes that
are not settled: Ollama pulls only what is missing. Should a keeper not notice at once that it is none any more, the
server itself joins two pulls of one model.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec.structs import replace

from shared.errors import GatewayError, UpstreamError
from shared.models import ollama_operations as model_store
from shared.models.ollama_operations import StoreState, Wish
from shared.process.outage import OutageLog
from shared.process.tasks import wait_or
from shared.redis.client import UNREACHABLE
from workers.ollama_models.memory import available_bytes
from workers.ollama_models.ollama_api import OllamaStore, PullProgress
from workers.providers.ollama.provider import OllamaProvider

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis.asyncio import Redis

    from shared.settings import Settings
    from workers.backends.backend import Backend

_log = logging.getLogger(__name__)

LOOK_TIMEOUT_S: Final = 10.0
REMOVE_TIMEOUT_S: Final = 60.0
PROGRESS_S: Final = 0.5
MOST_PULLS: Final = 2
"""At a time, of one backend: more would only share the same line."""
RETRY_PAUSES_S: Final = (1.0, 5.0)
"""After a pull broke off or the server did not answer; then it has failed."""
SETTLE_RETRY_S: Final = 1.0
LEAVE_S: Final = 5.0


class _Running(NamedTuple):
    wish: Wish
    task: asyncio.Task[None]


class ModelStore:
    """The keeper of one backend's models, or one that stands by.

    Args:
        settings: intervals and bounds.
        redis: connections that every part shares.
        worker_id: this process, in hex digits.
        queue: the backend's.
        ollama: its server.
        on_change: has the backend offer what is on the disk now.
    """

    def __init__(
        self,
        settings: Settings,
        redis: Redis,
        worker_id: str,
        queue: str,
        ollama: OllamaStore,
        *,
        on_change: Callable[[], Awaitable[None]],
    ) -> None:
        self._settings = settings
        self._redis = redis
        self._worker_id = worker_id
        self._queue = queue
        self._ollama = ollama
        self._on_change = on_change
        self._running: dict[str, _Running] = {}
        self._ended: set[str] = set()
        self._look_at = 0.0
        self._looking = asyncio.Lock()
        self._look: asyncio.Task[None] | None = None
        self._outage = OutageLog(_log, "Redis", f"models of {queue}")

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the models until `stop`; pulls that are under way then are left to the next keeper."""
        try:
            while not stop.is_set():
                await self._turn()
                await wait_or(stop, self._settings.heartbeat_s)
        finally:
            await self._leave()

    async def _turn(self) -> None:
        self._ended.clear()
        try:
            bound_s = self._settings.heartbeat_bound_s
            wishes = await model_store.keep(self._redis, self._queue, self._worker_id, bound_s)
            for wish in wishes or ():
                if wish.is_settled and time.time() - wish.changed_ms / 1000 > model_store.SETTLED_LIFE_S:
                    await model_store.forget(self._redis, self._queue, wish)
        except UNREACHABLE as error:
            self._outage.failed(error)
            return
        self._outage.answered()
        if wishes is None:
            self._cancel_all()
            return
        self._heed(wishes)
        if time.monotonic() >= self._look_at and (self._look is None or self._look.done()):
            self._look_at = time.monotonic() + self._settings.discovery_interval_s
            self._look = asyncio.create_task(self._say_what_is_there(), name=f"models of {self._queue}")

    def _heed(self, wishes: list[Wish]) -> None:
        """Begin what is to be done, stop what is no longer wished."""
        for wish in sorted(wishes, key=lambda wish: wish.asked_ms):
            running = self._running.get(wish.field)
            if running is not None:
                if running.wish.id != wish.id:
                    running.task.cancel()
            # One that ended since the list was read stands in it as it was before.
            elif not wish.is_settled and wish.id not in self._ended and self._has_room(wish):
                self._begin(wish)

    def _has_room(self, wish: Wish) -> bool:
        pulls = sum(running.wish.kind == "install" for running in self._running.values())
        return wish.kind == "remove" or pulls < MOST_PULLS

    def _begin(self, wish: Wish) -> None:
        task = asyncio.create_task(self._fulfil(wish), name=f"{wish.kind} {wish.model}")
        self._running[wish.field] = _Running(wish, task)
        task.add_done_callback(lambda _: self._end(wish))

    def _end(self, wish: Wish) -> None:
        del self._running[wish.field]
        self._ended.add(wish.id)

    async def _fulfil(self, wish: Wish) -> None:
        """Do what is wished, and say how it ended."""
        _log.info("%s: %s %s", self._queue, wish.kind, wish.model)
        try:
            ended = await (self._install(wish) if wish.kind == "install" else self._remove(wish))
        except GatewayError as error:
            ended = replace(wish, state="failed", error=error.message)
        except TimeoutError:
            ended = replace(wish, state="failed", error="Ollama did not answer in time.")
        except Exception:  # noqa: BLE001 -- a defect that ended this process would end the next one too
            _log.exception("%s of %s failed", wish.kind, wish.model)
            ended = replace(wish, state="failed", error="The gateway failed on this; its worker's log says why.")
        if ended.error is not None:
            _log.warning("%s: %s %s failed: %s", self._queue, wish.kind, wish.model, ended.error)
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_TIMEOUT_S):
                await self._on_change()
        await self._say_what_is_there()
        await self._settle(ended)

    async def _install(self, wish: Wish) -> Wish:
        progress = PullProgress()
        # Told to end, not cancelled: Python 3.11's `wait_for`, in which redis-py sends, may lose a cancellation.
        ended = asyncio.Event()
        reporter = asyncio.create_task(self._report(wish, progress, ended), name=f"progress of {wish.model}")
        try:
            await self._pull(wish.model, progress)
        finally:
            ended.set()
            await reporter
        return replace(_so_far(wish, progress), state="done")

    async def _pull(self, model: str, progress: PullProgress) -> None:
        for pause_s in RETRY_PAUSES_S:
            try:
                await self._ollama.pull(model, progress)
            except UpstreamError as error:
                _log.warning("%s: pull of %s: %s", self._queue, model, error.message)
                await asyncio.sleep(pause_s)
            else:
                return
        await self._ollama.pull(model, progress)

    async def _report(self, wish: Wish, progress: PullProgress, ended: asyncio.Event) -> None:
        """Write how far a pull is, whenever that has changed, until it has ended."""
        said: Wish | None = None
        while not ended.is_set():
            now = _so_far(wish, progress)
            if now != said:
                with suppress(*UNREACHABLE):
                    await model_store.note(self._redis, self._queue, now)
                    said = now
            await wait_or(ended, PROGRESS_S)

    async def _remove(self, wish: Wish) -> Wish:
        async with asyncio.timeout(REMOVE_TIMEOUT_S):
            was_there = await self._ollama.remove(wish.model)
        if was_there or wish.may_be_absent:
            return replace(wish, state="done")
        return replace(wish, state="failed", error="There is no such model.", is_unknown=True)

    async def _settle(self, wish: Wish) -> None:
        while True:
            try:
                await model_store.note(self._redis, self._queue, wish)
            except UNREACHABLE:
                await asyncio.sleep(SETTLE_RETRY_S)
            else:
                return

    async def _say_what_is_there(self) -> None:
        """Ask the server, and write it where the api reads it. One at a time: an older answer must not come last."""
        async with self._looking:
            try:
                async with asyncio.timeout(LOOK_TIMEOUT_S):
                    models = await self._ollama.models()
            except (GatewayError, TimeoutError):
                state = StoreState(is_reachable=False, free_ram_bytes=available_bytes(), models=())
            else:
                state = StoreState(is_reachable=True, free_ram_bytes=available_bytes(), models=models)
            life_s = 2 * self._settings.discovery_interval_s + LOOK_TIMEOUT_S + self._settings.heartbeat_bound_s
            with suppress(*UNREACHABLE):
                await model_store.publish(self._redis, self._queue, state, life_s)

    def _cancel_all(self) -> None:
        for running in self._running.values():
            running.task.cancel()

    async def _leave(self) -> None:
        self._cancel_all()
        tasks = [running.task for running in self._running.values()]
        if self._look is not None:
            self._look.cancel()
            tasks.append(self._look)
        if tasks:
            await asyncio.wait(tasks, timeout=LEAVE_S)
        with suppress(*UNREACHABLE):
            await model_store.leave(self._redis, self._queue, self._worker_id)
        await self._ollama.close()


def model_stores(
    settings: Settings, redis: Redis, worker_id: str, backends: list[Backend], announce: Callable[[], None]
) -> list[ModelStore]:
    """Make one for each backend whose server is an Ollama. `worker_id` in hex digits; `announce` publishes offers."""

    def rediscovery(backend: Backend) -> Callable[[], Awaitable[None]]:
        async def rediscover() -> None:
            if await backend.discover():
                announce()

        return rediscover

    return [
        ModelStore(
            settings,
            redis,
            worker_id,
            backend.queue,
            OllamaStore(backend.provider.base_url),
            on_change=rediscovery(backend),
        )
        for backend in backends
        if isinstance(backend.provider, OllamaProvider)
    ]


def _so_far(wish: Wish, progress: PullProgress) -> Wish:
    """A pull under way."""
    completed, total = progress.completed_bytes, progress.total_bytes
    return replace(wish, state="running", detail=progress.status, completed_bytes=completed, total_bytes=total)
