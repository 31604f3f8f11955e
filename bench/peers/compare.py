"""Measure this gateway and others in turn, on the same mock: `python -m bench peers`."""

from __future__ import annotations

import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.compare.measure import Target, measure_round, warm_up
from bench.compare.pairs import Rounds, comparison, exit_code
from bench.peers.gateways import PEERS, Upstreams, started
from bench.stack import running

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.compare.measure import Sizes
    from bench.report import Report

OURS: Final = "ours"


async def peers(names: Sequence[str], *, rounds: int, sizes: Sizes) -> tuple[Report, int]:
    """Measure all of them in each round; the report and the exit code.

    Args:
        names: of the peers; empty means all.
        rounds: how often.
        sizes: how much is sent a round.

    Raises:
        StackFailed: one cannot be installed, or does not come up.
    """
    with tempfile.TemporaryDirectory(prefix="claw-bench-") as folder:
        async with running() as stack, AsyncExitStack() as stops:
            models = [load.model for load in sizes.loads()]
            upstreams = Upstreams(
                all_models=stack.openai_url,
                by_model={model: f"{await stack.upstream((model,))}/v1" for model in models},
            )
            chat = "/chat/completions"
            ours = Target(
                name=OURS,
                url=f"{stack.apis[0]}/v1{chat}",
                direct=stack.openai_url + chat,
                key=stack.key,
                groups=stack.groups,
            )
            starts = [started(name, upstreams, Path(folder)) for name in names or PEERS]
            targets = [ours, *[await stops.enter_async_context(start) for start in starts]]
            found = Rounds(tuple(target.name for target in targets))
            failures = await warm_up(targets, sizes)
            for number in range(rounds):
                found.samples.append(await measure_round(targets, sizes, number))
    report = comparison("Peers, each on the same mock; they store and queue nothing", found, OURS)
    report.failures += failures
    return report, exit_code(report, found)
