"""The report of a measure: lines to read, numbers to keep, and replies that were not whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.load import Run


@dataclass(frozen=True)
class Options:
    """The options of the command line.

    Args:
        rounds: how often each load is run.
    """

    rounds: int = 5


@dataclass
class Report:
    """The result of one measure."""

    title: str
    lines: list[str] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def check(self, *runs: Run) -> None:
        """Record the runs whose replies were not all whole."""
        self.failures += [run.failure for run in runs if run.failure]

    def text(self) -> str:
        """Return the report as it is printed."""
        failures = [f"NOT WHOLE: {failure}" for failure in self.failures]
        return "\n".join([f"== {self.title}", *self.lines, *failures, ""])


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return lines with columns one below the other; the first column to the left, the others to the right."""
    cells = [list(head), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in cells]
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]


def machine_line(runs: Sequence[Run]) -> str:
    """Describe how busy the machine was during the runs."""
    # The worst of them: one run that others disturbed spoils a comparison.
    busy, steal = max(run.busy for run in runs), max(run.steal for run in runs)
    lowest = min(run.busy for run in runs)
    return f"Machine, load generator included: {lowest:.0%}-{busy:.0%} busy, stolen up to {steal:.1%}."
