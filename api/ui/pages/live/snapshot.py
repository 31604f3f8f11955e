"""The contents of the live page, read once for all who look: backends, workers, and the requests in front of queues.

Everything is in the words and numbers that are shown, so that the page's template and its script only put them there.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from api.endpoints.queue.backends import BackendState, backend_states
from api.endpoints.queue.workers import worker_states
from shared.queue import inspection
from shared.redis.names import queue_of_place

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from redis.asyncio import Redis

    from api.gateway import Gateway
    from shared.queue.inspection import JobHead, Place

Fields = dict[str, Any]

MOST_SHOWN: Final = 100
"""Requests that wait, and as many that run: a page with more is of no use to anyone."""
LEAST_OF_QUEUE: Final = 5
"""Number of requests of each queue that are shown, however many queues there are, up to `MOST_SHOWN` of all."""
_KINDS: Final = {"open": "good", "paused": "warn", "closed": "warn", "draining": "warn", "no worker": "bad"}
_WORKER_KINDS: Final = {"working": "good", "draining": "warn", "refused": "bad"}
INTERNAL: Final = "internal"


class Item(msgspec.Struct, frozen=True):
    """Something that is shown: what it is known by on the page, and its fields."""

    key: str
    fields: Fields


class Snapshot(msgspec.Struct, frozen=True):
    """All that is shown, as it was at a moment.

    Attributes:
        summary: figures of all backends together.
        lists: the items of each list, in their order.
        positions: of requests that wait, by their item's key; those change all the time.
    """

    summary: Fields
    lists: dict[str, list[Item]]
    positions: dict[str, int]


class Heads:
    """The heads of jobs that are shown, each read once: they do not change while a job waits or runs."""

    def __init__(self) -> None:
        self._known: dict[str, JobHead | None] = {}

    async def of(self, redis: Redis, jobs: Sequence[str]) -> Mapping[str, JobHead | None]:
        """Return the heads of jobs, and forget all others."""
        new = [job for job in jobs if job not in self._known]
        found = dict(zip(new, await inspection.heads(redis, new), strict=True))
        self._known = {job: found.get(job) or self._known.get(job) for job in jobs}
        return self._known


async def read_snapshot(state: Gateway, heads: Heads, names: Mapping[str, str]) -> Snapshot:
    """Read what is shown now.

    Args:
        state: the gateway.
        heads: of the jobs that were shown before.
        names: of keys, by their ids.

    Raises:
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    backends = await backend_states(state.redis, state.capacity, state.arrivals)
    places = await _places(state.redis, backends)
    known = await heads.of(state.redis, [place.job for _, _, place in places])
    requests = [_request(word, each, place, known[place.job], names) for word, each, place in places]
    waiting = sum(each.waiting for each in backends)
    running = sum(each.running for each in backends)
    shown = {word: sum(1 for found, _, _ in places if found == word) for word in ("waiting", "running")}
    return Snapshot(
        summary={
            "waiting": waiting,
            "running": running,
            "slots": sum(each.slots for each in backends),
            "done": sum(each.out_per_minute for each in backends),
            "oldest": _since(max((each.oldest_wait_s for each in backends if each.oldest_wait_s), default=None)),
            "not_shown": max(0, waiting - shown["waiting"]) + max(0, running - shown["running"]),
        },
        lists={
            "backends": [Item(f"b {each.backend}", _backend(each)) for each in backends],
            "workers": [Item(f"w {each['id']}", _worker(each)) for each in worker_states(state.capacity.announcements)],
            "requests": requests,
        },
        positions={item.key: place.position for item, (_, _, place) in zip(requests, places, strict=True)},
    )


async def _places(redis: Redis, backends: Iterable[BackendState]) -> list[tuple[str, BackendState, Place]]:
    """Return the jobs that are shown, those that run first: the front of each queue, and no more than is of use."""
    found: list[tuple[str, BackendState, Place]] = []
    for word, read in (("running", inspection.running), ("waiting", inspection.waiting)):
        busy = [each for each in backends if getattr(each, word)]
        most = max(LEAST_OF_QUEUE, MOST_SHOWN // max(1, len(busy)))
        of_word: list[tuple[str, BackendState, Place]] = []
        for each in busy[: MOST_SHOWN // LEAST_OF_QUEUE]:
            places = await read(redis, queue_of_place(each.backend), 0, most)
            of_word += [(word, each, place) for place in places]
        found += of_word[:MOST_SHOWN]
    return found


def _backend(each: BackendState) -> Fields:
    return {
        "backend": each.backend,
        "tier": each.tier,
        "provider": each.provider,
        "state": each.state,
        "state_kind": _KINDS[each.state],
        "models": ", ".join(each.models[:6]) + (f" and {len(each.models) - 6} more" if len(each.models) > 6 else ""),
        "waiting": each.waiting,
        "running": each.running,
        "slots": each.slots,
        "used": min(each.running, each.slots),
        "oldest": _since(each.oldest_wait_s),
        "expected": "" if each.expected_wait_s is None else f"{each.expected_wait_s:.0f} s",
        "service": f"{each.service_s:.1f} s" if each.service_s else "",
        "rate": f"{each.out_per_minute} a minute",
        "closed": ", ".join(f"{model or 'all'} for {seconds:.0f} s" for model, seconds in each.closed_s.items()),
        "is_paused": each.state == "paused",
        "is_open": each.state != "paused",
    }


def _worker(each: dict[str, Any]) -> Fields:
    return {
        "worker": each["id"],
        "short": each["id"][:8],
        "tier": each["tier"],
        "where": f"{each['host'] or 'unknown'}, process {each['pid'] or '?'}",
        "state": each["state"],
        "state_kind": _WORKER_KINDS[each["state"]],
        "refusal": each["refusal"],
        "running": each["running"],
        "slots": each["slots"],
        "backends": ", ".join(each["backends"]),
        "since": each["since"],
        "can_drain": each["state"] != "draining",
    }


def _request(word: str, each: BackendState, place: Place, head: JobHead | None, names: Mapping[str, str]) -> Item:
    identity, _, attempt = place.job.rpartition("-")
    admitted_ms = inspection.admitted_ms_of(place.job)
    key_id = INTERNAL if head is None or head.key_id is None else head.key_id
    fields: Fields = {
        "request": identity,
        "short": "…" + identity[-8:],  # its beginning is the time
        "state": word,
        "state_kind": "accent" if word == "running" else "",
        "place": each.backend.partition(":")[2],
        "tier": each.tier,
        "attempt": f"attempt {attempt}" if attempt not in {"", "1"} else "",
        "priority": "" if word == "running" or place.priority == "normal" else place.priority,
        "model": "" if head is None else head.model,
        "asked": "" if head is None or head.requested_model == head.model else head.requested_model,
        "key": "" if head is None else names.get(key_id, key_id[:8]),
        "since": "" if admitted_ms is None else admitted_ms,
    }
    return Item(f"r {place.job} {word}", fields)


def _since(wait_s: float | None) -> int | str:
    """Return when a wait began, in whole seconds as milliseconds since 1970, so that it does not change by rounding."""
    return "" if not wait_s else round(time.time() - wait_s) * 1000


_NAMES: Final = {
    "backends": (
        "backend tier provider state state_kind models waiting running slots used oldest expected service rate closed "
        "is_paused is_open"
    ),
    "workers": "worker short tier where state state_kind refusal running slots backends since can_drain",
    "requests": "request short state state_kind place tier attempt priority model asked key since",
}
BLANK: Final[dict[str, Fields]] = {kind: dict.fromkeys(names.split(), "") for kind, names in _NAMES.items()}
"""Fields of nothing, for the templates that a script fills."""
