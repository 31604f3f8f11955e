"""Pair what was measured in the same round, and put it into a table: medians, and the ratio of each pair.

A machine that is slow for a minute is slow for both of a pair, so the pairs' ratios hold where absolute times do not.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bench.compare.machine import OTHERS_LIMIT, STEAL_LIMIT, Usage
from bench.load import Spread
from bench.report import Report, table

if TYPE_CHECKING:
    from collections.abc import Sequence

BUSY: Final = 3
"""The exit code where the machine was busy with other things."""


@dataclass(frozen=True)
class Figure:
    """A line of the table."""

    name: str
    unit: str
    digits: int


REQUEST: Final = Figure("request, not streamed, 32 in flight", "ms CPU", 2)
SPEED: Final = Figure("requests/s, 32 in flight", "/s", 0)
TOKEN: Final = Figure("chat token, 50 streams x 256, 5 ms apart", "us CPU", 1)
FIRST: Final = Figure("added to the first token, idle", "ms", 2)
MEMORY: Final = Figure("memory between loads, PSS", "MiB", 0)
FIGURES: Final = (REQUEST, SPEED, TOKEN, FIRST, MEMORY)


@dataclass(frozen=True)
class Sample:
    """The result of one run of a load at one gateway."""

    values: dict[Figure, float]
    usage: Usage
    failures: tuple[str, ...] = ()


@dataclass
class Rounds:
    """Samples by gateway and round; `names` are the gateways in the order of the table's columns."""

    names: tuple[str, ...]
    samples: list[dict[str, list[Sample]]] = field(default_factory=list)

    def values(self, name: str, figure: Figure) -> list[float]:
        """Return a gateway's values, one a round; NaN where a round gave none."""
        return [
            # NaN keeps the pairs together where one round failed.
            next((one.values[figure] for one in found.get(name, []) if figure in one.values), math.nan)
            for found in self.samples
        ]

    def usage(self, figure: Figure) -> Usage:
        """Return what the machine did while this figure was measured, at every gateway: a ratio needs both."""
        return Usage.of_all(
            one.usage for found in self.samples for name in self.names for one in found[name] if figure in one.values
        )

    @property
    def failures(self) -> list[str]:
        """Return the number of replies that were not whole."""
        return [text for found in self.samples for runs in found.values() for one in runs for text in one.failures]

    @property
    def is_busy(self) -> bool:
        """Return whether the machine was busy with other things for any of the figures."""
        return any(self.usage(figure).is_busy for figure in FIGURES)


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Divide pair by pair, leaving out pairs that say nothing: one that is missing, or a divisor not above zero."""
    pairs = zip(ours, theirs, strict=True)
    # A NaN of theirs fails the comparison with 0, one of ours the other test.
    return [own / other for own, other in pairs if other > 0 and not math.isnan(own)]


def order(names: Sequence[str], number: int) -> list[str]:
    """Return who is measured in which place of a round: each in every place in turn, so that no place favours one."""
    start = number % len(names)
    return [*names[start:], *names[:start]]


def comparison(title: str, rounds: Rounds, ours: str) -> Report:
    """Make the report: medians of each gateway, then `ours` by each of the others, pair by pair.

    Args:
        title: of the report.
        rounds: all that was measured.
        ours: the gateway that is divided by each of the others.
    """
    report = Report(title, failures=rounds.failures)
    others = [name for name in rounds.names if name != ours]
    medians, quotients = [], []
    for figure in FIGURES:
        usage = rounds.usage(figure)
        machine = (f"{usage.others:.1%}", f"{usage.steal:.1%}", "BUSY" if usage.is_busy else "")
        cells = [_text(rounds.values(name, figure), figure.digits) for name in rounds.names]
        medians.append((figure.name, *cells, figure.unit, *machine))
        pairs = [ratios(rounds.values(ours, figure), rounds.values(name, figure)) for name in others]
        quotients.append((figure.name, *(_text(found, 3) for found in pairs), machine[-1]))
    report.lines = table(("", *rounds.names, "unit", "others", "stolen", ""), medians)
    report.lines += ["", *table(("ratio pair by pair", *(f"{ours} / {name}" for name in others), ""), quotients), ""]
    report.lines.append(f"Medians of {len(rounds.samples)} rounds (lowest-highest). {load_line()}")
    if rounds.is_busy:
        report.lines.append(
            f"BUSY: others used more than {OTHERS_LIMIT:.0%} of the machine, or more than {STEAL_LIMIT:.0%} was stolen."
        )
    report.raw = _raw(rounds)
    return report


def exit_code(report: Report, rounds: Rounds) -> int:
    """Return 1 where a reply was not whole, 3 where the machine was busy with other things, else 0."""
    if report.failures:
        return 1
    return BUSY if rounds.is_busy else 0


def load_line() -> str:
    """Describe the machine's load averages, which count us too."""
    return "Load average {:.1f}, {:.1f}, {:.1f}".format(*os.getloadavg()) + f" on {os.cpu_count()} cores."


def _text(values: Sequence[float], digits: int) -> str:
    found = [value for value in values if not math.isnan(value)]
    return Spread.of(found).text(digits) if found else "-"


def _raw(rounds: Rounds) -> dict[str, Any]:
    return {
        figure.name: {
            **{name: rounds.values(name, figure) for name in rounds.names},
            "others": rounds.usage(figure).others,
            "steal": rounds.usage(figure).steal,
        }
        for figure in FIGURES
    }
