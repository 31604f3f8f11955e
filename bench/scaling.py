"""Requests per second with 1, 2 and 4 api and worker processes."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final

from bench.costs import warm_up
from bench.load import Load, Run, Spread, cpu_so_far, run_alone
from bench.report import Report, table
from bench.stack import running

if TYPE_CHECKING:
    from bench.report import Options
    from bench.stack import Stack

SIZES: Final = (1, 2, 4)
AT_ONCE: Final = 64
REQUESTS: Final = 2400


async def scaling(options: Options) -> Report:
    """Spread the same load over more and more processes, with one load generator for each api process."""
    report = Report(f"Scaling: requests/s, not streamed, {AT_ONCE} at once, over n api and n worker processes")
    rows = []
    async with running(apis=0, workers=0) as stack:
        for size in SIZES:
            await stack.start(apis=size - len(stack.apis), workers=size - len(stack.groups["worker"]))
            # The new processes too: their first requests make connections and caches.
            await warm_up(stack, Load(model="mock", at_once=AT_ONCE // size, requests=1))
            rounds = [await _round(stack, size, report) for _ in range(options.rounds)]
            report.raw[str(size)] = rounds
            rps, cpu_ms, *each = (Spread.of(one[name] for one in rounds) for name in ("rps", "cpu_ms", *stack.groups))
            rows.append((f"{size} + {size}", rps.text(0), cpu_ms.text(2), *(f"{group.middle:.2f}" for group in each)))
        kinds = tuple(stack.groups)
    report.lines = table(("api + workers", "requests/s", "CPU ms a request", *kinds), rows)
    report.lines.append(
        f"This machine has {os.cpu_count()} cores, and the load generators, the mock upstream, Valkey and PostgreSQL "
        "run on them too: what they leave, not the processes, bounds these figures."
    )
    return report


async def _round(stack: Stack, size: int, report: Report) -> dict[str, float]:
    load = Load(model="mock", at_once=AT_ONCE // size, requests=REQUESTS // size)
    before = await cpu_so_far(stack.groups)
    runs: list[Run] = await asyncio.gather(
        *(run_alone(load, f"{url}/v1/chat/completions", key=stack.key) for url in stack.apis)
    )
    after = await cpu_so_far(stack.groups)
    report.check(*runs)
    served = sum(one.reply["ok"] for one in runs)
    each = {group: 1000 * (after[group] - before[group]) / max(1, served) for group in after}
    return {"rps": sum(one.reply["rps"] for one in runs), "cpu_ms": sum(each.values()), **each}
