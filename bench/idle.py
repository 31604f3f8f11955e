"""The cost of a stack that nobody uses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from bench.load import cpu_while_idle
from bench.report import Report, table
from bench.stack import running

if TYPE_CHECKING:
    from bench.report import Options

SECONDS: Final = 20
SETTLE_S: Final = 3.0


async def idle(options: Options) -> Report:
    """Measure the CPU over 20 s without load, as a share of one core."""
    del options  # one long look
    report = Report(f"Idle: CPU over {SECONDS} s without load, % of one core")
    async with running() as stack:
        # Until what a start brings (models asked for, scripts sent) is over.
        await asyncio.sleep(SETTLE_S)
        measured = await cpu_while_idle(stack.groups, SECONDS)
    shares = {group: 100 * seconds / measured["wall_s"] for group, seconds in measured["cpu_s"].items()}
    report.raw = measured
    report.lines = table(
        ("", *shares, "all"), [("%", *(f"{share:.2f}" for share in (*shares.values(), sum(shares.values()))))]
    )
    report.lines.append(f"Must be under 1 %. One tick of the clock is {1 / SECONDS:.2f} %. PostgreSQL left out.")
    return report
