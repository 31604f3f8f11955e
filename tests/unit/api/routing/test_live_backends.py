"""Announcements of workers -> what each queue can do."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, cast

import msgspec

from api.routing.live_backends import LATELY_S, Capacity
from api.routing.load import UNKNOWN_SERVICE_MS
from shared.types import Announcement, BackendInfo, LocalModel

if TYPE_CHECKING:
    from redis.asyncio import Redis


def capacity(*backends: BackendInfo) -> Capacity:
    """Return what these backends, each of a worker of its own, make together."""
    made = Capacity(None)  # type: ignore[arg-type]  # nothing is read from Redis here
    made._take(tuple(Announcement(f"{number:02x}", "local", (backend,)) for number, backend in enumerate(backends)))
    return made


def backend(
    queue: str,
    *models: str,
    slots: int = 4,
    service_ms: int = 0,
    closed: dict[str, int] | None = None,
    ms_per_token: float = 0.0,
) -> BackendInfo:
    """Return a backend as it is announced."""
    offered = tuple(LocalModel(model) for model in models)
    return BackendInfo("local", "ollama", queue, slots, offered, service_ms, closed or {}, ms_per_token)


def test_workers_that_share_a_queue_serve_it_together() -> None:
    """Their slots add up; how long an attempt takes is their mean by slots, of those that know."""
    load = capacity(
        backend("a", slots=1, service_ms=1000, ms_per_token=10),
        backend("a", slots=3, service_ms=3000, ms_per_token=20),
        backend("a", slots=4),
        backend("b"),
    ).load("a")
    assert load is not None
    assert (load.slots, load.service_ms, load.ms_per_token) == (8, 2500, 17.5)


def test_a_queue_without_a_measurement_is_taken_to_be_slow() -> None:
    """Rather than instant; one that nobody serves has no load."""
    made = capacity(backend("a"))
    load = made.load("a")
    assert load is not None
    assert load.service_ms == UNKNOWN_SERVICE_MS
    assert made.load("b") is None
    assert (made.is_served("a"), made.is_served("b")) == (True, False)


def test_a_queue_is_closed_while_all_its_workers_are() -> None:
    """For a model, or for all of them; the first that opens again opens it."""
    load = capacity(backend("a", closed={"x": 10, "": 5}), backend("a", closed={"x": 20, "": 7, "y": 30})).load("a")
    assert load is not None
    assert [load.is_closed("x", now_ms) for now_ms in (9, 10)] == [True, False]
    assert [load.is_closed("other", now_ms) for now_ms in (4, 5)] == [True, False]
    assert not load.is_closed("y", 6), "one of them serves it"


def test_a_local_model_that_went_away_is_remembered_for_a_while() -> None:
    """Its server may be restarting."""
    made = capacity(backend("a", "x:latest"))
    made._take(())
    assert made.local("x") == []
    assert [made.was_local(name) for name in ("x", "x:latest", "y")] == [True, True, False]
    made._offered_at = dict.fromkeys(made._offered_at, time.monotonic() - LATELY_S)
    made._take(())
    assert not made.was_local("x")


def test_a_local_model_is_found_with_and_without_ollamas_tag() -> None:
    """On each backend that has it."""
    made = capacity(backend("a", "x:latest"), backend("b", "x:latest", "y:7b"))
    assert [found.queue for found, _ in made.local("x")] == ["a", "b"]
    assert [model.id for _, model in made.local("x:latest")] == ["x:latest", "x:latest"]
    assert made.local("y") == []


class _Redis:
    """Answers a look only when it is told to."""

    def __init__(self) -> None:
        self.answers: list[asyncio.Future[list[object]]] = []

    def pipeline(self, **_: object) -> _Redis:
        return self

    def smembers(self, _: str) -> None: ...

    def hkeys(self, _: str) -> None: ...

    async def execute(self) -> list[object]:
        self.answers.append(asyncio.get_running_loop().create_future())
        return await self.answers[-1]

    async def mget(self, names: list[str]) -> list[bytes]:
        return [msgspec.json.encode(Announcement(name[-2:], "local", (backend(name[-2:]),))) for name in names]


async def test_a_look_that_is_overtaken_changes_nothing() -> None:
    """The operator's calls look too, beside the one that follows: what the later one saw is newer."""
    redis = _Redis()
    made = Capacity(cast("Redis", redis))
    earlier, later = asyncio.ensure_future(made.refresh()), asyncio.ensure_future(made.refresh())
    while len(redis.answers) < 2:
        await asyncio.sleep(0)
    redis.answers[1].set_result([{b"01", b"02"}, []])
    await later
    redis.answers[0].set_result([{b"01"}, [b"02"]])
    await earlier
    assert (made.is_served("01"), made.is_served("02")) == (True, True)
    load = made.load("02")
    assert load is not None
    assert not load.is_paused
