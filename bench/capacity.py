"""The capacity of one Valkey: its CPU time for a job and for a message of the relay, with a driver on it directly."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.load import Spread, cpu_so_far
from bench.report import Report, table
from bench.stack import pid_of
from bench.traffic import FRAME_BYTES, Traffic
from cli.up.embedded.valkey import EmbeddedValkey
from shared.redis import client as redis_client

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bench.report import Options

AT_ONCE: Final = 24
JOBS: Final = 6000
MESSAGES: Final = 30_000
GATHERED: Final = (1, 10, 50)


async def capacity(options: Options) -> Report:
    """Measure Valkey's CPU per job and per message, and what one core of it would carry."""
    report = Report("Valkey: CPU of one server, driven directly")
    with tempfile.TemporaryDirectory(prefix="claw-bench-") as folder:
        valkey = EmbeddedValkey(Path(folder))
        async with valkey as url:
            # Valkey's CPU alone: the bench's own is no cost of the gateway.
            groups = {"valkey": [pid_of(valkey)]}
            redis = redis_client.connect(url)
            try:
                async with Traffic(redis) as traffic:
                    await _rounds(traffic, groups, options.rounds, report)
            finally:
                await redis_client.close(redis)
    report.lines = table(
        ("", "CPU us", "driven at", "one core would carry"), [_row(name, found) for name, found in report.raw.items()]
    )
    report.lines.append(
        "A job: admit, wake, claim, first frame, body and end, finish, usage record. A message has frames of "
        f"{FRAME_BYTES} bytes of many streams and goes to one subscriber. At most one command a round trip, "
        f"{AT_ONCE} at once, append-only file on. By CPU time; a full core batches more, so it is low."
    )
    return report


async def _rounds(traffic: Traffic, groups: dict[str, list[int]], rounds: int, report: Report) -> None:
    drives: dict[str, tuple[Callable[[], Awaitable[None]], int, int]] = {"job": (traffic.job, JOBS, 1)}
    for frames in GATHERED:
        name = f"message of {frames} frame{'s' * (frames > 1)}"
        drives[name] = (traffic.message_of(frames), MESSAGES, frames)
    for name in drives:
        report.raw[name] = []
    for _ in range(rounds):
        for name, (one, count, frames) in drives.items():
            report.raw[name].append({"frames": frames, **await _drive(one, count, groups)})


async def _drive(one: Callable[[], Awaitable[None]], count: int, groups: dict[str, list[int]]) -> dict[str, float]:
    # One counter for all, so that they end together.
    left = count

    async def repeat() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await one()

    before, began = await cpu_so_far(groups), time.perf_counter()
    await asyncio.gather(*(repeat() for _ in range(AT_ONCE)))
    seconds = time.perf_counter() - began
    after = await cpu_so_far(groups)
    return {"cpu_us": 1e6 * (after["valkey"] - before["valkey"]) / count, "per_s": count / seconds}


def _row(name: str, found: list[dict[str, Any]]) -> tuple[str, ...]:
    cpu_us = Spread.of(one["cpu_us"] for one in found)
    per_s = 1e6 / cpu_us.middle
    frames = found[0]["frames"]
    carries = f"{per_s:,.0f}/s" if name == "job" else f"{per_s:,.0f}/s = {per_s * frames:,.0f} frames/s"
    return name, cpu_us.text(1), f"{Spread.of(one['per_s'] for one in found).middle:,.0f}/s", carries
