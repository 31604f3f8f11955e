"""What an open stream holds in memory."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import httpx

from bench.load import Load, memory_mib, run_alone
from bench.report import Report, table
from bench.stack import StackFailed, running

if TYPE_CHECKING:
    from bench.report import Options
    from bench.stack import Stack

STREAMS: Final = 1000
SLOW: Final = Load(model="mock-n6-d5000", at_once=STREAMS, requests=STREAMS, stream=True)
WARM: Final = Load(model="mock", at_once=100, requests=1000, stream=True)
OPEN_S: Final = 20.0
SETTLE_S: Final = 5.0


async def memory(options: Options) -> Report:
    """Measure RSS and PSS with 1,000 open streams minus those before, after a warm-up."""
    del options  # the streams are many enough for one round
    report = Report(f"Memory of {STREAMS:,} open streams (MiB)")
    async with running(CLAW_LOCAL_OPENAI_SLOTS=str(STREAMS + 24)) as stack:
        url = f"{stack.apis[0]}/v1/chat/completions"
        report.check(await run_alone(WARM, url, key=stack.key))
        await asyncio.sleep(SETTLE_S)
        before = await memory_mib(stack.groups)
        load = asyncio.create_task(run_alone(SLOW, url, key=stack.key))
        await _until_open(stack)
        await asyncio.sleep(SETTLE_S)
        full = await memory_mib(stack.groups)
        report.check(await load)
    report.raw = {"idle": before, "open": full}
    report.lines = table(
        ("", "RSS idle", "RSS open", "PSS idle", "PSS open", "PSS per 1,000 streams"),
        [_row(group, before[group], full[group]) for group in ("api", "worker", "valkey")],
    )
    report.lines.append(f"Every stream had begun and got a token every 5 s; idle is after {WARM.requests:,} streams.")
    return report


def _row(group: str, before: tuple[float, float], full: tuple[float, float]) -> tuple[str, ...]:
    more = (full[1] - before[1]) * 1000 / STREAMS
    return (group, *(f"{value:.1f}" for value in (before[0], full[0], before[1], full[1])), f"{more:.1f}")


async def _until_open(stack: Stack) -> None:
    """Wait until the upstream has a stream open for each request."""
    deadline = time.monotonic() + OPEN_S
    begun = await _streams(stack)
    while await _streams(stack) - begun < STREAMS:
        if time.monotonic() > deadline:
            raise StackFailed("The streams do not all begin.")
        await asyncio.sleep(0.1)


async def _streams(stack: Stack) -> int:
    async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
        stats: dict[str, Any] = (await client.get(stack.openai_url.removesuffix("/v1") + "/stats")).json()
    return int(stats["streams"])
