"""Compare this tree with another commit: `python -m bench --against REV`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.compare.checkout import checked_out, serving, working_tree
from bench.compare.measure import measure_round, warm_up
from bench.compare.pairs import Rounds, comparison, exit_code

if TYPE_CHECKING:
    from bench.compare.measure import Sizes
    from bench.report import Report


async def against(revision: str, *, rounds: int, sizes: Sizes) -> tuple[Report, int]:
    """Measure both in turn; the report and the exit code.

    Both stacks are started anew for each round: what a start happens to bring (hash seed, memory layout) is thus in
    the spread of the pairs, and not taken for a difference of the commits.

    Raises:
        StackFailed: a stack does not come up.
    """
    ours = working_tree()
    with checked_out(revision) as theirs:
        found = Rounds((theirs.name, ours.name))
        failures: list[str] = []
        for number in range(rounds):
            async with serving(theirs) as reference, serving(ours) as candidate:
                targets = (reference, candidate)
                failures += await warm_up(targets, sizes)
                found.samples.append(await measure_round(targets, sizes, number))
    report = comparison(f"{ours.name} against {theirs.name}: below 1 is less than {theirs.name}", found, ours.name)
    report.failures += failures
    return report, exit_code(report, found)
