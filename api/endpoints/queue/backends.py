"""/claw/queue: every backend with its queue, and pausing it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec
from quart import Response

from api.endpoints.manage.guard import body_as
from api.gateway import gateway
from api.http.body import json_response
from shared.errors import NotFound
from shared.queue.inspection import QueueCounts, count
from shared.redis.names import NEWS_CHANNEL, PAUSED, PAUSED_NEWS, QUEUES, place_of_queue, queue_of_place, wake_channel

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from redis.asyncio import Redis

    from api.accounting.arrivals import ArrivalRates
    from api.routing.live_backends import Capacity
    from api.routing.load import Load
    from shared.types import BackendInfo


class BackendState(msgspec.Struct, kw_only=True):
    """A backend as the operator sees it; times are seconds.

    `closed_s` says of models for how much longer no account can serve them, `""` standing for all.
    """

    backend: str
    tier: str
    provider: str
    state: str
    models: list[str]
    workers: list[str]
    slots: int
    running: int
    waiting: int
    oldest_wait_s: float | None
    expected_wait_s: float | None
    service_s: float
    in_per_minute: float | None
    out_per_minute: int
    closed_s: dict[str, float]


class _Backend(msgspec.Struct, forbid_unknown_fields=True):
    backend: str


async def list_backends() -> Response:
    """List the backends, those with the most waiting jobs first."""
    state = gateway()
    return json_response({"backends": await backend_states(state.redis, state.capacity, state.arrivals)})


async def backend_states(redis: Redis, capacity: Capacity, flow: ArrivalRates) -> list[BackendState]:
    """Return every backend that lives, and those that have none to serve what waits for them.

    Raises:
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    await capacity.refresh()
    pipeline = redis.pipeline(transaction=False)
    pipeline.smembers(QUEUES)
    pipeline.hkeys(PAUSED)
    known, paused = ({name.decode() for name in names} for names in await pipeline.execute())
    served: dict[str, list[tuple[str, BackendInfo]]] = {}
    for worker, backend in capacity.by_worker():
        served.setdefault(backend.queue, []).append((worker, backend))
    counts = await count(redis, sorted(known | served.keys()))
    await _forget(redis, {name for name in known - served.keys() if not any(counts[name][:2])})
    found = [
        _state(queue, counts[queue], served.get(queue, ()), capacity.load(queue), flow, is_paused=queue in paused)
        for queue in counts
        if queue in served or queue in paused or any(counts[queue][:2])
    ]
    return sorted(found, key=lambda each: (-each.waiting, each.backend))


async def pause_backend() -> Response:
    """Let a backend take no more jobs: what runs goes on, what waits moves on where another can serve it."""
    place = (await body_as(_Backend)).backend
    await pause(gateway().redis, place)
    return json_response({"backend": place, "paused": True})


async def resume_backend() -> Response:
    """Let a backend take jobs again."""
    place = (await body_as(_Backend)).backend
    await resume(gateway().redis, gateway().capacity, place)
    return json_response({"backend": place, "paused": False})


async def pause(redis: Redis, place: str) -> None:
    """Pause a backend, as the operator names it; one that is paused stays so.

    Raises:
        NotFound: no worker has announced such a backend.
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    queue = await _known_queue(redis, place)
    await redis.hset(PAUSED, queue, str(int(time.time() * 1000)))  # type: ignore[misc]  # redis-py: or awaitable
    await redis.publish(NEWS_CHANNEL, b"%s %s" % (PAUSED_NEWS, queue.encode()))


async def resume(redis: Redis, capacity: Capacity, place: str) -> None:
    """Resume a backend, as the operator names it; one that is not paused stays so.

    Raises:
        NotFound: no worker has announced such a backend.
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    queue = await _known_queue(redis, place)
    await redis.hdel(PAUSED, queue)  # type: ignore[misc]  # redis-py: or awaitable
    pipeline = redis.pipeline(transaction=False)
    pipeline.publish(NEWS_CHANNEL, b"%s %s" % (PAUSED_NEWS, queue.encode()))
    # What came while it was paused has woken them in vain.
    for worker, backend in capacity.by_worker():
        if backend.queue == queue:
            pipeline.publish(wake_channel(worker), queue)
    await pipeline.execute()


async def _known_queue(redis: Redis, place: str) -> str:
    """Return the queue of a backend.

    Raises:
        NotFound: no worker has announced such a backend.
    """
    queue = queue_of_place(place)
    is_known = await redis.sismember(QUEUES, queue) or await redis.hexists(PAUSED, queue)  # type: ignore[misc]  # redis-py: or awaitable
    if not is_known:
        raise NotFound(f"There is no backend {place_of_queue(queue)}: `nself claw queue` names them.")
    return queue


async def _forget(redis: Redis, queues: Iterable[str]) -> None:
    """Forget queues that no worker serves and that are empty."""
    if gone := list(queues):
        await redis.srem(QUEUES, *gone)  # type: ignore[misc]  # redis-py: or awaitable


def _state(
    queue: str,
    counts: QueueCounts,
    served: Iterable[tuple[str, BackendInfo]],
    load: Load | None,
    flow: ArrivalRates,
    *,
    is_paused: bool,
) -> BackendState:
    served = list(served)
    now_ms = time.time() * 1000
    place = place_of_queue(queue)
    closed = {} if load is None else load.closed_ms
    slots = 0 if load is None else load.slots
    in_line = counts.waiting + counts.running - slots + 1  # so many must end before one that came now could begin
    out = sum(backend.ended_per_minute for _, backend in served)
    return BackendState(
        backend=place,
        tier=place.partition(":")[0],
        provider=served[0][1].provider if served else "",
        state=_word(load, closed, now_ms, is_paused=is_paused),
        models=sorted({model.id for _, backend in served for model in backend.models}),
        workers=sorted(worker for worker, _ in served),
        slots=slots,
        running=counts.running,
        waiting=counts.waiting,
        oldest_wait_s=None if counts.oldest_ms is None else round(max(0.0, now_ms - counts.oldest_ms) / 1000, 1),
        expected_wait_s=(
            round(max(0, in_line) * load.service_ms / slots / 1000, 1) if load and slots and not is_paused else None
        ),
        service_s=round(load.service_ms / 1000, 2) if load else 0.0,
        in_per_minute=flow.per_minute(queue, counts.waiting + counts.running, out),
        out_per_minute=out,
        closed_s={model: round((until - now_ms) / 1000, 1) for model, until in closed.items() if until > now_ms},
    )


def _word(load: Load | None, closed: Mapping[str, int], now_ms: float, *, is_paused: bool) -> str:
    """Return in a word whether a backend takes jobs."""
    if is_paused:
        return "paused"
    if load is None:
        return "no worker"
    if load.slots == 0:
        return "draining"
    if closed.get("", 0) > now_ms:
        return "closed"
    return "open"
