"""Pairs of a comparison: ratios, turns, the report and its exit code."""

from __future__ import annotations

import math

from bench.compare.machine import Usage
from bench.compare.pairs import FIRST, REQUEST, SPEED, Rounds, Sample, comparison, exit_code, order, ratios

QUIET = Usage(10, 0, 0)
LOUD = Usage(10, 5, 0)


def rounds_of(*pairs: tuple[float, float], usage: Usage = QUIET) -> Rounds:
    """Rounds of two gateways with one figure."""
    found = Rounds(("old", "new"))
    for old, new in pairs:
        found.samples.append({"old": [Sample({REQUEST: old}, usage)], "new": [Sample({REQUEST: new}, usage)]})
    return found


def test_ratios_are_of_pairs_and_not_of_medians() -> None:
    """The machine was three times as slow in the second round: each pair still says a half."""
    assert ratios([1, 3, 2], [2, 6, 4]) == [0.5, 0.5, 0.5]


def test_a_pair_that_lacks_one_or_divides_by_nothing_says_nothing() -> None:
    """Missing values and added times of zero or less are left out, and do not shift the others."""
    assert ratios([1, math.nan, 3, 4, 5], [2, 2, math.nan, 0, -1]) == [0.5]


def test_each_gateway_is_in_each_place_once() -> None:
    """Who is first changes from round to round."""
    turns = [order("abc", number) for number in range(3)]
    assert [set(place) for place in zip(*turns, strict=True)] == [set("abc")] * 3


def test_a_report_shows_medians_and_the_ratio_with_its_spread() -> None:
    """Old 2, 4, 6 and new 1, 3, 6: 0.5, 0.75 and 1."""
    text = comparison("title", rounds_of((2, 1), (4, 3), (6, 6)), "new").text()
    assert "4.00 (2.00-6.00)" in text
    assert "3.00 (1.00-6.00)" in text
    assert "0.750 (0.500-1.000)" in text
    assert "BUSY" not in text


def test_a_busy_machine_marks_the_figure_and_exits_with_3() -> None:
    """Only the figures that were measured meanwhile are marked."""
    found = rounds_of((2, 1), usage=LOUD)
    found.samples[0]["old"].append(Sample({SPEED: 1}, QUIET))
    found.samples[0]["new"].append(Sample({SPEED: 1}, QUIET))
    report = comparison("title", found, "new")
    marked = [line for line in report.lines if line.rstrip().endswith("BUSY")]
    assert {line.startswith(REQUEST.name) for line in marked} == {True}
    assert exit_code(report, found) == 3


def test_replies_that_were_not_whole_weigh_more_than_a_busy_machine() -> None:
    """Exit code 1, the failure in the report, and no value for that round."""
    found = rounds_of((2, 1))
    found.samples.append({"old": [Sample({REQUEST: 2}, LOUD)], "new": [Sample({}, LOUD, ("new: 3 of 4 whole",))]})
    report = comparison("title", found, "new")
    assert "NOT WHOLE: new: 3 of 4 whole" in report.text()
    assert exit_code(report, found) == 1
    assert math.isnan(found.values("new", REQUEST)[1])


def test_quiet_and_whole_exits_with_0() -> None:
    """Figures that nobody measured are a dash."""
    found = rounds_of((2, 1))
    assert exit_code(comparison("title", found, "new"), found) == 0
    assert all(math.isnan(value) for value in found.values("new", FIRST))
