"""Measure how much of the machine others used while the bench ran: the difference of two readings of /proc.

Others: user and system time of the whole machine, without interrupts, less that of this process and its descendants,
which are the gateways, their databases, the mocks and the load generator. Interrupts are left out because those of our
own traffic are in no process's account.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OTHERS_LIMIT: Final = 0.05
STEAL_LIMIT: Final = 0.03
_HZ: Final = os.sysconf("SC_CLK_TCK")
_PROC: Final = Path("/proc")


@dataclass(frozen=True)
class Reading:
    """CPU seconds since the machine started, over all cores.

    Attributes:
        total: used or not.
        work: user and system time of all processes.
        steal: taken by the hypervisor.
        own: user and system time of this process and its descendants.
    """

    total: float
    work: float
    steal: float
    own: float


@dataclass(frozen=True)
class Usage:
    """The machine's work over a time, in CPU seconds; `capacity` is what it could have given."""

    capacity: float
    others_s: float
    steal_s: float

    @classmethod
    def between(cls, before: Reading, after: Reading) -> Usage:
        """Subtract two readings; rounding of ticks never makes a share negative."""
        # Children that ended count with their parent, once that has waited for them.
        others = (after.work - before.work) - (after.own - before.own)
        return cls(after.total - before.total, max(0.0, others), max(0.0, after.steal - before.steal))

    @classmethod
    def of_all(cls, usages: Iterable[Usage]) -> Usage:
        """Add up usages, so that a longer run counts for more."""
        found = list(usages)
        return cls(
            sum(one.capacity for one in found), sum(one.others_s for one in found), sum(one.steal_s for one in found)
        )

    @property
    def others(self) -> float:
        """Return the share of the machine that other processes used."""
        return self.others_s / self.capacity if self.capacity else 0.0

    @property
    def steal(self) -> float:
        """Return the share of the machine that the hypervisor took."""
        return self.steal_s / self.capacity if self.capacity else 0.0

    @property
    def is_busy(self) -> bool:
        """Return whether figures measured over this time are not to be trusted."""
        return self.others > OTHERS_LIMIT or self.steal > STEAL_LIMIT


def read(proc: Path = _PROC) -> Reading:
    """Read the counters of the machine, and of this process with its descendants."""
    total, work, steal = machine_ticks((proc / "stat").read_text())
    return Reading(total / _HZ, work / _HZ, steal / _HZ, tree_ticks(process_ticks(proc), os.getpid()) / _HZ)


def machine_ticks(stat: str) -> tuple[int, int, int]:
    """Return total, work and steal of /proc/stat's first line; guests are within user already."""
    user, nice, system, *rest = (int(word) for word in stat.split("\n", 1)[0].split()[1:9])
    return user + nice + system + sum(rest), user + nice + system, rest[-1]


def process_ticks(proc: Path) -> dict[int, tuple[int, int]]:
    """Return each process's parent and ticks, with those of its children that ended and were waited for."""
    found = {}
    for stat in proc.glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:  # it ended meanwhile
            continue
        # From the last bracket: a process's name, in brackets, may hold spaces and brackets (proc(5)).
        fields = text[text.rindex(")") + 2 :].split()
        found[int(stat.parent.name)] = int(fields[1]), sum(int(field) for field in fields[11:15])
    return found


def tree_ticks(processes: Mapping[int, tuple[int, int]], root: int) -> int:
    """Add up the ticks of a process and its descendants."""
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in processes.items():
        children.setdefault(parent, []).append(pid)
    ticks, todo = 0, [root]
    while todo:
        pid = todo.pop()
        ticks += processes[pid][1]
        todo += children.get(pid, [])
    return ticks
