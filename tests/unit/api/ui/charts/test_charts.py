"""Whatever is drawn is well-formed, stands inside its box, says the same in its table, and has no style attribute."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.ui.charts import timeline as charts
from api.ui.charts.markup import NO_VALUE
from api.ui.charts.ranking import Bar, ranking, share_bar
from api.ui.charts.timeline import HEIGHT, TOP, WIDTH, Series, Timeline
from api.ui.charts.units import COUNT, SECONDS, USD

if TYPE_CHECKING:
    from collections.abc import Callable

    from markupsafe import Markup

KINDS: Final = [charts.bars, charts.lines]
START: Final = datetime(2026, 11, 27, 3, 20, tzinfo=UTC)
_NUMBERS: Final = re.compile(r"-?\d+(?:\.\d+)?")
_TOLERANCE: Final = 0.05
"""Coordinates are written to a hundredth, and those of a bar relative to each other."""

values = st.one_of(
    st.none(),
    st.just(0),
    st.integers(0, 100),
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(min_value=0, max_value=1e-6),
    st.integers(10**12, 10**300),
)
texts = st.text(max_size=6)
series = st.builds(
    Series, texts, st.sampled_from(["local", "gemini", "paid", "error", "one", "other"]), st.lists(values, max_size=10)
)
timelines = st.builds(
    lambda count, **fields: Timeline(
        name="made-up", times=[START + number * fields["step"] for number in range(count)], **fields
    ),
    st.integers(0, 10),
    title=texts,
    step=st.sampled_from([timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=3), timedelta(days=1)]),
    series=st.lists(series, max_size=3),
    unit=st.sampled_from([COUNT, USD, SECONDS]),
)


def parsed(markup: Markup) -> ET.Element:
    """Return the markup as XML: entities of HTML that XML does not know would be an error too."""
    return ET.fromstring(str(markup).encode())  # noqa: S314 -- of our own making


def points(path: str) -> list[tuple[float, float]]:
    """Return where a path goes through."""
    x = y = 0.0
    found = []
    for command, rest in re.findall(r"([MLvhz])([^MLvhz]*)", path):
        numbers = [float(number) for number in _NUMBERS.findall(rest)]
        if command in "ML":
            x, y = numbers
        elif command == "h":
            x += numbers[0]
        elif command == "v":
            y += numbers[0]
        found.append((x, y))
    return found


@given(draw=st.sampled_from(KINDS), timeline=timelines)
def test_any_series_is_drawn_inside_its_box(draw: Callable[[Timeline], Markup], timeline: Timeline) -> None:
    """Empty, zeros, one point, negative, not a number, huge: the drawing, the grid and the labels."""
    figure = parsed(draw(timeline))
    for path in figure.iter("path"):
        assert all(
            -_TOLERANCE <= x <= WIDTH + _TOLERANCE and -_TOLERANCE <= y <= HEIGHT + _TOLERANCE
            for x, y in points(path.attrib["d"])
        ), path.attrib["d"]
    for line in figure.iter("line"):
        assert TOP <= float(line.attrib["y1"]) <= TOP + HEIGHT
    for label in figure.iter("text"):
        if label.attrib["x"].endswith("%"):
            assert 0 <= float(label.attrib["x"][:-1]) <= 100
        else:
            assert TOP <= float(label.attrib["y"]) <= TOP + HEIGHT
            assert len(label.text or "") <= 9


@given(draw=st.sampled_from(KINDS), timeline=timelines)
def test_no_chart_has_anything_that_the_policy_forbids(draw: Callable[[Timeline], Markup], timeline: Timeline) -> None:
    """No style attribute, no script, no handler, whatever the labels are."""
    for element in parsed(draw(timeline)).iter():
        assert element.tag not in {"script", "style"}
        assert not [name for name in element.attrib if name == "style" or name.startswith("on")]


@given(draw=st.sampled_from(KINDS), timeline=timelines)
def test_the_table_has_every_value_that_is_drawn(draw: Callable[[Timeline], Markup], timeline: Timeline) -> None:
    """A row a time, a column a series; without values there is neither, and a sentence instead."""
    figure = parsed(draw(timeline))
    rows = figure.findall(".//tbody/tr")
    if "data-chart" not in figure.attrib:
        assert not rows
        assert figure.findall(".//*[@class='chart-nothing']")
        return
    assert len(rows) == len(timeline.times) == int(figure.attrib["data-chart"])
    assert {len(row.findall("td")) for row in rows} == {len(timeline.series)}
    for row, column_values in zip(rows, zip(*timeline.columns(), strict=True), strict=True):
        shown = [cell.text for cell in row.findall("td")]
        assert shown == [NO_VALUE if value is None else timeline.unit.full(value) for value in column_values]


def test_bars_stand_on_each_other_and_are_as_high_as_their_values() -> None:
    """Of 10 and 30 under a tick of 40 the upper one ends at the top, three times as high."""
    timeline = Timeline(
        name="two", title="Two", times=[START], step=timedelta(hours=1),
        series=[Series("Below", "local", [10]), Series("Above", "paid", [30])],
    )  # fmt: skip
    below, above = ([y for _, y in points(path.attrib["d"])] for path in parsed(charts.bars(timeline)).iter("path"))
    assert (max(below), min(below)) == (HEIGHT, HEIGHT * 3 / 4)
    assert (max(above), min(above)) == (HEIGHT * 3 / 4, 0)


def test_a_line_has_a_gap_where_there_is_no_value_and_a_dot_for_one_that_stands_alone() -> None:
    """Two values, none, one value."""
    timeline = Timeline(
        name="gap", title="Gap", times=[START + number * timedelta(hours=1) for number in range(4)],
        step=timedelta(hours=1), series=[Series("Some", "one", [1, 2, None, 2])],
    )  # fmt: skip
    (path,) = parsed(charts.lines(timeline)).iter("path")
    assert path.attrib["d"] == f"M125 {HEIGHT / 2:g}L375 0M875 0h0"


def test_a_value_too_small_to_see_is_a_pixel_high() -> None:
    """One error among a million requests is there."""
    timeline = Timeline(
        name="small", title="Small", times=[START], step=timedelta(hours=1),
        series=[Series("Requests", "local", [1_000_000]), Series("Errors", "error", [1])],
    )  # fmt: skip
    _, errors = parsed(charts.bars(timeline)).iter("path")
    heights = [y for _, y in points(errors.attrib["d"])]
    assert max(heights) - min(heights) == pytest.approx(1)


def test_times_of_hours_can_be_written_in_the_viewers_zone_and_days_are_utcs() -> None:
    """A script finds the moment at the label; days have none."""
    hours = Timeline(
        name="hours", title="Hours", times=[START + number * timedelta(minutes=30) for number in range(48)],
        step=timedelta(minutes=30), series=[Series("Some", "one", [1] * 48)],
    )  # fmt: skip
    labels = parsed(charts.bars(hours)).findall(".//*[@data-at]")
    assert [label.text for label in labels] == ["04:00", "08:00", "12:00", "16:00", "20:00", "00:00"]
    assert labels[0].attrib["data-at"] == "2026-11-27T04:00:00+00:00"
    days = Timeline(
        name="days", title="Days", times=[START + timedelta(days=number) for number in range(30)],
        step=timedelta(days=1), series=[Series("Some", "one", [1] * 30)],
    )  # fmt: skip
    assert parsed(charts.bars(days)).findall(".//*[@data-at]") == []


@given(rows=st.lists(st.builds(Bar, texts, values, note=texts), max_size=8))
def test_any_ranking_is_drawn_inside_its_box(rows: list[Bar]) -> None:
    """The longest bar takes the whole width, and none more."""
    table = parsed(ranking("Made up", ("What", "How much"), rows))
    widths = [float(bar.attrib["width"].rstrip("%")) for bar in table.findall(".//rect[2]")]
    assert len(widths) == len(rows)
    assert all(0 <= width <= 100 for width in widths)
    assert not any(widths) or max(widths) == 100


@given(share=st.floats())
def test_any_share_is_a_bar_inside_its_box(share: float) -> None:
    """Also one that is negative, more than all, or no number."""
    _, filled = parsed(share_bar(share)).iter("rect")
    assert 0 <= float(filled.attrib["width"].rstrip("%")) <= 100
