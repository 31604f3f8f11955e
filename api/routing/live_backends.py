"""The live backends: the announcements of live workers, as this process last saw them."""

from __future__ import annotations

import logging
import random
import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from api.routing.load import Load, loads_of
from api.routing.shortlist import SHORTLIST
from shared.errors import Overloaded
from shared.process.outage import OutageLog
from shared.process.tasks import Following
from shared.redis.client import UNREACHABLE
from shared.redis.names import PAUSED, WORKERS, running_key, worker_key
from shared.types import Announcement, BackendInfo, LocalModel, Tier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from redis.asyncio import Redis

    from shared.queue.placement import Candidate

_log = logging.getLogger(__name__)

REFRESH_S: Final = 2.0
LATELY_S: Final = 300.0
"""For how long a local model that is gone is taken to come back."""
CLOSED: Final = 100_000
"""Added to the rank of what has no account that can serve now, or no worker that takes on more."""
OUTDATED_RETRY_S: Final = 30.0
_decoder = msgspec.json.Decoder(Announcement)


class Capacity(Following):
    """The backends of all live workers. News refreshes it at once; a slow poll is the safety net.

    Args:
        redis: connections that every part shares.
    """

    def __init__(self, redis: Redis) -> None:
        super().__init__(REFRESH_S, name="capacity")
        self._redis = redis
        self._announcements: tuple[Announcement, ...] = ()
        self._loads: dict[str, Load] = {}
        self._local: dict[str, list[tuple[BackendInfo, LocalModel]]] = {}
        self._offered_at: dict[str, float] = {}
        self._seen: set[tuple[Tier, str]] = set()
        self._looks = self._last_look = 0
        self._outage = OutageLog(_log, "Redis")

    def backends(self, tier: Tier | None = None) -> Iterator[BackendInfo]:
        """Yield the live backends, of one tier or of all; several workers may serve the same queue."""
        for announcement in self._announcements:
            for backend in announcement.backends:
                if tier is None or backend.tier == tier:
                    yield backend

    @property
    def announcements(self) -> tuple[Announcement, ...]:
        """Return what each live worker announces."""
        return self._announcements

    def by_worker(self) -> Iterator[tuple[str, BackendInfo]]:
        """Yield the live backends, each with the id of the worker that serves it, in hex digits."""
        for announcement in self._announcements:
            for backend in announcement.backends:
                yield announcement.worker_id, backend

    def models(self, tier: Tier | None = None) -> dict[str, LocalModel]:
        """Return the models on offer, by name."""
        return {model.id: model for backend in self.backends(tier) for model in backend.models}

    @property
    def redis_fault(self) -> str:
        """Return what Redis refuses a worker, so that it serves nothing; empty where it refuses none."""
        return next((announcement.refusal for announcement in self._announcements if announcement.refusal), "")

    def was_served(self, tier: Tier, provider: str) -> bool:
        """Return whether the last live workers of a tier had this provider: then it may be restarting."""
        return (tier, provider) in self._seen

    def local(self, name: str) -> list[tuple[BackendInfo, LocalModel]]:
        """Return the live local backends that have a model of this name. Ollama's tag `:latest` may be left out."""
        return self._local.get(name, [])

    def was_local(self, name: str) -> bool:
        """Return whether a local backend had a model of this name a few minutes ago: its server may be restarting."""
        return name in self._offered_at

    def load(self, queue: str) -> Load | None:
        """Return what a queue's live workers can do together; None where there is none."""
        return self._loads.get(queue)

    def busy(self, queue: str) -> int:
        """Return how many jobs ran or waited in a queue at the last look, where there are many queues; else 0."""
        load = self._loads.get(queue)
        return 0 if load is None else load.busy

    def note_busy(self, candidates: Iterable[Candidate]) -> None:
        """Note that no slot of the candidates is free, until the next look."""
        for candidate in candidates:
            if load := self._loads.get(candidate.target.queue):
                load.busy = max(load.busy, load.slots)

    def is_served(self, queue: str) -> bool:
        """Return whether a live worker takes the jobs of a queue."""
        return queue in self._loads

    async def look(self) -> None:
        """Refresh from the announcements; while Redis does not answer, what was last read holds."""
        try:
            await self.refresh()
        except UNREACHABLE as error:
            self._outage.failed(error)
        else:
            self._outage.answered()

    async def refresh(self) -> None:
        """Read the announcements now.

        Raises:
            RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
        """
        self._looks += 1
        look = self._looks
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.smembers(WORKERS)
        pipeline.hkeys(PAUSED)
        members, paused = await pipeline.execute()
        workers = [worker.decode() for worker in members]
        # MGET takes no empty list.
        announced = await self._redis.mget([worker_key(worker) for worker in workers]) if workers else []
        announcements = tuple(found for payload in announced if (found := _decoded(payload)) is not None)
        busy = await self._busy(announcements)
        if look < self._last_look:
            return  # one that began later was quicker: this one would undo what that has seen
        self._last_look = look
        self._take(announcements, busy)
        for queue in paused:
            if load := self._loads.get(queue.decode()):
                load.is_paused = True
        # A tier whose workers live has what they announce; one without any may be restarting.
        living = {announcement.tier for announcement in self._announcements}
        self._seen = {seen for seen in self._seen if seen[0] not in living}
        self._seen |= {(backend.tier, backend.provider) for backend in self.backends()}
        # Their announcements expired in Redis, so no clock of ours decides who is dead.
        silent = [worker for worker, payload in zip(workers, announced, strict=True) if payload is None]
        if silent:
            await self._redis.srem(WORKERS, *silent)  # type: ignore[misc]  # redis-py: or awaitable

    async def _busy(self, announcements: Iterable[Announcement]) -> dict[str, int]:
        """Return how many jobs run or wait in each queue, where there are too many to ask all at each admission."""
        queues = list({backend.queue for announcement in announcements for backend in announcement.backends})
        if len(queues) <= SHORTLIST:
            return {}
        pipeline = self._redis.pipeline(transaction=False)
        for queue in queues:
            pipeline.zcard(queue)
            pipeline.zcard(running_key(queue))
        counts = await pipeline.execute()
        return {queue: counts[2 * place] + counts[2 * place + 1] for place, queue in enumerate(queues)}

    def _take(self, announcements: tuple[Announcement, ...], busy: Mapping[str, int] = MappingProxyType({})) -> None:
        self._announcements = announcements
        self._loads = loads_of(self.backends())
        for queue, jobs in busy.items():
            self._loads[queue].busy = jobs
        self._local = {}
        for backend in self.backends("local"):
            for model in backend.models:
                for name in {model.id, model.id.removesuffix(":latest")}:
                    self._local.setdefault(name, []).append((backend, model))
        now = time.monotonic()
        lately = {name: at for name, at in self._offered_at.items() if now - at < LATELY_S}
        self._offered_at = lately | dict.fromkeys(self._local, now)


def rank_live(candidates: Iterable[Candidate], load_of: Callable[[str], Load | None]) -> list[Candidate]:
    """Return those of the candidates that a worker serves, by rank, as busy and as open as their queues are now.

    Args:
        candidates: of now or of an earlier call; only what does not change is taken from them.
        load_of: a queue as its live workers announce it, None where there is none.
    """
    now_ms = time.time() * 1000
    found, loads = [], {}
    for candidate in candidates:
        target = candidate.target
        load = load_of(target.queue)
        if load is None:
            continue
        loads[target.queue] = load
        # A worker that drains announces no slots.
        is_closed = load.slots == 0 or load.is_paused or (load.closed_ms and load.is_closed(target.model, now_ms))
        # It may come from an earlier call, when it was closed: what is added for that is taken off first.
        rank = candidate.rank % CLOSED + (CLOSED if is_closed else 0)
        found.append(msgspec.structs.replace(candidate, rank=rank, slots=load.slots, service_ms=load.service_ms))
    if len(found) > 1:
        found = _comparable(found, loads)
        # Equals in random order, so that idle upstreams are used alike.
        random.shuffle(found)
        found.sort(key=lambda candidate: candidate.rank)
    return found


def knowing(candidates: Iterable[Candidate], dialect: str, load_of: Callable[[str], Load | None]) -> list[Candidate]:
    """Return those of the candidates whose workers all know a dialect: of one queue any may take the job.

    Raises:
        Overloaded: there are none.
    """
    loads = [(candidate, load_of(candidate.target.queue)) for candidate in candidates]
    found = [candidate for candidate, load in loads if load is not None and dialect in load.dialects]
    if not found:
        raise Overloaded(
            f"The workers for this request are of an earlier version, which does not know /v1/{dialect}: their "
            "operator has to update and restart them.",
            code="worker_outdated",
            retry_after_s=OUTDATED_RETRY_S,
        )
    return found


def bounded(found: Iterable[Candidate], most_wait_s: float, last_resort: int) -> list[Candidate]:
    """Return local candidates with a bound on the wait that is expected, and once more without, after everything else.

    Args:
        found: the candidates of several tiers.
        most_wait_s: the bound, in seconds.
        last_resort: added to the rank of those without a bound.
    """
    candidates: list[Candidate] = []
    for candidate in found:
        if candidate.target.tier == "local":
            later = msgspec.structs.replace(candidate, rank=candidate.rank + last_resort)
            candidates += (msgspec.structs.replace(candidate, most_wait_ms=int(most_wait_s * 1000)), later)
        else:
            candidates.append(candidate)
    return candidates


def _comparable(found: list[Candidate], loads: dict[str, Load]) -> list[Candidate]:
    """Return local candidates with how long an attempt takes if all get answers of the same length.

    What each of them lately took depends more on what it happened to be asked than on how fast it is.
    """
    speeds = {
        candidate.target.queue: load.ms_per_token
        for candidate in found
        if candidate.target.tier == "local" and (load := loads[candidate.target.queue]).ms_per_token
    }
    # How long answers lately were at each; their mean is the length at which all are compared.
    tokens = [candidate.service_ms / speed for candidate in found if (speed := speeds.get(candidate.target.queue))]
    mean = sum(tokens) / max(1, len(tokens))
    return [
        msgspec.structs.replace(candidate, service_ms=int(mean * speed))
        if (speed := speeds.get(candidate.target.queue))
        else candidate
        for candidate in found
    ]


def _decoded(payload: bytes | None) -> Announcement | None:
    """Return what a worker announced; None where it died, or its version announces in another format."""
    if payload is None:
        return None
    try:
        return _decoder.decode(payload)
    except msgspec.MsgspecError as error:
        _log.warning("a worker's announcement cannot be read: %s", error)
        return None
