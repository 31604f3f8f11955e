"""What others used of the machine: parsed from /proc, and the verdict."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.compare.machine import Reading, Usage, machine_ticks, process_ticks, tree_ticks


def test_interrupts_and_guests_are_no_work_of_others() -> None:
    """Work is user, nice and system; idle, iowait, irq, softirq and steal count for the total alone."""
    assert machine_ticks("cpu  10 20 30 400 50 6 7 8 9 9\ncpu0 1 1 1 1") == (531, 60, 8)


def test_a_tree_is_the_process_and_all_that_descend_from_it() -> None:
    """Children of children count, others do not."""
    assert tree_ticks({1: (0, 1000), 5: (1, 10), 6: (5, 20), 7: (6, 40), 8: (1, 500)}, 5) == 70


def test_a_process_counts_with_its_ended_children_whatever_it_is_called(tmp_path: Path) -> None:
    """The name may hold blanks and brackets; fields 14 to 17 are user, system and the children's."""
    (tmp_path / "42").mkdir()
    (tmp_path / "42" / "stat").write_text(f"42 (a) b (c) S 7 {'0 ' * 9}1 2 3 4 0 0\n")
    assert process_ticks(tmp_path) == {42: (7, 10)}


def test_this_process_is_among_those_that_proc_shows() -> None:
    """The same on the real /proc."""
    assert process_ticks(Path("/proc"))[os.getpid()][0] == os.getppid()


@pytest.mark.parametrize(
    ("work", "own", "steal", "busy"),
    [
        (9.0, 9.0, 0.0, False),
        (9.0, 8.6, 0.0, False),
        (9.0, 8.4, 0.0, True),
        (9.0, 9.0, 0.4, True),
        (9.0, 9.1, 0.2, False),
    ],
)
def test_a_machine_is_busy_when_others_or_the_hypervisor_took_much(
    work: float, own: float, steal: float, *, busy: bool
) -> None:
    """Of 10 CPU seconds: over 0.5 by others or over 0.3 stolen."""
    before = Reading(total=100, work=50, steal=5, own=20)
    after = Reading(total=110, work=50 + work, steal=5 + steal, own=20 + own)
    assert Usage.between(before, after).is_busy is busy


def test_long_runs_count_for_more_than_short_ones() -> None:
    """A second of others in one short run does not spoil a long one."""
    both = Usage.of_all([Usage(2, 1, 0), Usage(98, 0, 0)])
    assert both == Usage(100, 1, 0)
    assert not both.is_busy
