"""What processes and servers take while they are attacked."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import msgspec

from shared.process.loop_watch import HELD
from tests.attack.bodies import LARGE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis.asyncio import Redis

    from tests.fleet import Fleet

T = TypeVar("T")
TRIES: Final = 5
MOST_HELD_S: Final = 0.05
_READINGS: Final = 5

Held = list[tuple[str, str]]
"""Of each step that held an event loop: the process, and its line in the log."""


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process, in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def memory_bytes(fleet: Fleet, redis: Redis) -> dict[str, int]:
    """Return the memory of every process of a fleet and of its Valkey, by name, in bytes."""
    found = {process.name: resident_bytes(process.process.pid) for process in fleet.processes}
    found["valkey"] = (await redis.info("memory"))["used_memory"]
    return found


def loop_bound_s() -> float:
    """Return for how many seconds of processor time a loop may be held here.

    A call of a library into C cannot be interrupted, and the loop may miss the gap between two calls of a thread. So
    machines on which reading the largest body takes that long have two such calls, and half as much again, as their
    bound: three in one step are still found.
    """
    body = LARGE["escapes in a text"]
    return max(MOST_HELD_S, 2.5 * min(_reading_s(body) for _ in range(_READINGS)))


def _reading_s(body: bytes) -> float:
    """Return how many seconds of processor time the longest call of a library takes here."""
    began_s = time.thread_time()
    msgspec.json.decode(body)
    return time.thread_time() - began_s


def held_loops(fleet: Fleet) -> Held:
    """Return what the processes of a fleet say of their event loops being held: the process and its line."""
    return [
        (process.name, line)
        for process in fleet.processes
        for line in process.log.read_text().splitlines()
        if HELD in line
    ]


async def holding_nobody(fleet: Fleet, act: Callable[[], Awaitable[T]]) -> T:
    """Return what `act` returns once it held no event loop; it is called a few times at the most.

    What a step takes is the least of what it took: on a busy machine the same work takes up to three times as long, as
    others have the caches and the memory, and the loop is not woken when a thread of its process makes room.

    Args:
        fleet: whose processes; they are ready, since nobody is there to stand still while they start.
        act: what could hold one.
    """
    held: Held = []
    for _ in range(TRIES):
        known = len(held_loops(fleet))
        found = await act()
        if not (held := held_loops(fleet)[known:]):
            return found
    raise AssertionError(held)


def alive(fleet: Fleet) -> list[str]:
    """Return the names of the processes of a fleet that have not ended."""
    return [process.name for process in fleet.processes if process.process.returncode is None]


class Cost(NamedTuple):
    """What a Valkey has done since its figures were reset."""

    commands: int
    microseconds: int


async def cost_so_far(redis: Redis) -> Cost:
    """Return how many commands Valkey has carried out since its figures were reset, those of scripts too."""
    figures: dict[str, dict[str, int]] = await redis.info("commandstats")
    counted = [figure for name, figure in figures.items() if not name.startswith(("cmdstat_info", "cmdstat_config"))]
    return Cost(sum(figure["calls"] for figure in counted), sum(figure["usec"] for figure in counted))
