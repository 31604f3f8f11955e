"""Memory of an open stream, and the lateness of event loops while many streams get tokens."""

from __future__ import annotations

import asyncio
import re
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
BUSY: Final = Load(model="mock-n60-d500", at_once=STREAMS, requests=STREAMS, stream=True)
BUSY_TOKENS: Final = 2 * STREAMS
"""A second."""
LAG: Final = "claw_event_loop_lag_seconds"
BOUND_S: Final = 0.05
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
    await _add_lag(report)
    return report


async def _add_lag(report: Report) -> None:
    """Measure how late the loops of api and worker wake while all streams get two tokens a second."""
    # A process of its own for the metrics, which cost memory.
    async with running(with_metrics=True, CLAW_LOCAL_OPENAI_SLOTS=str(STREAMS + 24)) as stack:
        url = f"{stack.apis[0]}/v1/chat/completions"
        report.check(await run_alone(WARM, url, key=stack.key))
        load = asyncio.create_task(run_alone(BUSY, url, key=stack.key))
        await _until_open(stack)
        before = {group: await _lags(stack, group) for group in ("api", "worker")}
        report.check(await load)
        for group, counted in before.items():
            after = await _lags(stack, group)
            looked = after["+Inf"] - counted["+Inf"]
            late = looked - (after[str(BOUND_S)] - counted[str(BOUND_S)])
            report.raw[f"{group} lag"] = {bound: after[bound] - counted[bound] for bound in after}
            report.lines.append(
                f"Loop of the {group}, {BUSY_TOKENS:,} tokens a second: {late:.0f} of {looked:.0f} wakes were later "
                f"than {BOUND_S * 1000:.0f} ms."
            )


async def _lags(stack: Stack, group: str) -> dict[str, float]:
    """Return how many wakes were at most so many seconds late, by that number as Prometheus writes it."""
    async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
        text = (await client.get(stack.metrics[group][0])).text
    found = re.findall(rf'^{LAG}_bucket{{le="([^"]+)"}} (\S+)$', text, flags=re.MULTILINE)
    return {bound: float(count) for bound, count in found}


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
