"""Series over time: stacked bars, lines. One value a step of time; None where there is none.

A chart is as wide as its place and has text of one size, so nothing in it scales but the drawing itself: that one has
a view box of its own, without a fixed ratio, and everything else stands at a percentage of the width. What a script
needs for a tooltip it reads from the table, which also says the same without any picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from markupsafe import Markup

from api.ui.charts.figure import figure
from api.ui.charts.markup import element, number
from api.ui.charts.scale import clock_text, drawable, ticks, time_ticks
from api.ui.charts.units import COUNT, Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    _Draw = Callable[["Timeline", "_Plane"], Iterator[Markup]]

Style = Literal["local", "gemini", "paid", "error", "one", "two", "three", "four", "other"]
"""The style of a series: as its tier or as an error, else as the first colours of any."""

WIDTH: Final = 1000
"""Of the drawing's own view box."""
HEIGHT: Final = 168
TOP: Final = 8
BOTTOM: Final = 24
AXIS_WIDTH: Final = 52
_GAP: Final = 0.18
"""Part of a step's width that is left free between bars."""
_LEAST_PX: Final = 1.0
"""Least height of a bar: what is there can be seen."""


class Series(msgspec.Struct, frozen=True):
    """Values of one thing, one a step of time."""

    label: str
    style: Style
    values: Sequence[float | None]


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """A chart over time.

    Args:
        name: of the chart in its page: letters, digits and dashes.
        title: what is shown, above it.
        times: when each step begins, in UTC.
        step: how long each is.
        series: from the bottom to the top, where they are stacked. Values after the last time are left out.
        unit: what the values are of.
        nothing: what is said where no series has a value above 0.
    """

    name: str
    title: str
    times: Sequence[datetime]
    step: timedelta
    series: Sequence[Series]
    unit: Unit = COUNT
    nothing: str = "Nothing in this time."

    def columns(self) -> list[list[float | None]]:
        """Return the values of each series that can be drawn, one for each time."""
        return [
            [drawable(value) for value in list(each.values)[: len(self.times)]]
            + [None] * (len(self.times) - len(each.values))
            for each in self.series
        ]


class _Plane:
    """The drawing's plane: places of values in it."""

    def __init__(self, columns: list[list[float | None]], steps: int, unit: Unit, *, is_stacked: bool) -> None:
        self.columns = columns
        self.steps = steps
        rows = [[column[at] or 0.0 for column in columns] for at in range(steps)]
        self.highest = max((sum(row) if is_stacked else max(row, default=0.0) for row in rows), default=0.0)
        self.ticks = ticks(self.highest, is_whole=unit.is_whole)

    def height(self, value: float) -> float:
        """Return how high a value is."""
        return HEIGHT * min(1.0, value / self.ticks[-1])

    def left(self, at: int) -> float:
        """Return where a step begins."""
        return WIDTH * at / self.steps

    def middle(self, at: int) -> float:
        """Return where the middle of a step is."""
        return WIDTH * (at + 0.5) / self.steps

    def stacked(self) -> Iterator[list[tuple[float, float]]]:
        """Yield for each series where it begins and ends at each step, from the bottom, as values."""
        below = [0.0] * self.steps
        for column in self.columns:
            above = [start + (value or 0.0) for start, value in zip(below, column, strict=True)]
            yield list(zip(below, above, strict=True))
            below = above


def bars(timeline: Timeline) -> Markup:
    """Draw series as bars, one on the other."""
    return _chart(timeline, _bars, is_stacked=True)


def lines(timeline: Timeline) -> Markup:
    """Draw series as lines; one has a gap where it has no value."""
    return _chart(timeline, _lines, is_stacked=False)


def _chart(timeline: Timeline, draw: _Draw, *, is_stacked: bool) -> Markup:
    plane = _Plane(timeline.columns(), len(timeline.times), timeline.unit, is_stacked=is_stacked)
    drawing = element(
        "svg",
        {
            "class": "chart-drawing",
            "x": 0,
            "y": TOP,
            "width": "100%",
            "height": HEIGHT,
            "viewBox": f"0 0 {WIDTH} {HEIGHT}",
            "preserveAspectRatio": "none",
        },
        *(draw(timeline, plane) if plane.highest > 0 else ()),
    )
    plot = element(
        "svg",
        {
            "class": "chart-plot",
            "width": "100%",
            "height": TOP + HEIGHT + BOTTOM,
            "role": "img",
            "aria-labelledby": f"{timeline.name}-title {timeline.name}-said",
        },
        element("title", {"id": f"{timeline.name}-title"}, timeline.title),
        element("desc", {"id": f"{timeline.name}-said"}, _description(timeline, plane)),
        *_grid(plane),
        drawing,
        *_times(timeline),
    )
    return figure(timeline, plane.columns, axis=_axis(timeline, plane), plot=plot, is_empty=plane.highest <= 0)


def _bars(timeline: Timeline, plane: _Plane) -> Iterator[Markup]:
    width = WIDTH / plane.steps
    for each, spans in zip(timeline.series, plane.stacked(), strict=True):
        path = []
        for at, (start, end) in enumerate(spans):
            if end > start:
                bottom = HEIGHT - plane.height(start)
                high = min(bottom, max(_LEAST_PX, plane.height(end) - plane.height(start)))
                left, wide = plane.left(at) + width * _GAP / 2, width * (1 - _GAP)
                path.append(f"M{number(left)} {number(bottom)}v{number(-high)}h{number(wide)}v{number(high)}z")
        if path:
            yield element("path", {"class": f"chart-bar series-{each.style}", "d": "".join(path)})


def _lines(timeline: Timeline, plane: _Plane) -> Iterator[Markup]:
    for each, column in zip(timeline.series, plane.columns, strict=True):
        path, is_drawing = [], False
        for at, value in enumerate(column):
            if value is not None:
                path.append(("L" if is_drawing else "M") + _point(plane, at, value))
                is_alone = not is_drawing and (at + 1 == len(column) or column[at + 1] is None)
                path.append("h0" if is_alone else "")  # a dot: the ends of a line are round
            is_drawing = value is not None
        if path:
            yield element(
                "path",
                {
                    "class": f"chart-line series-{each.style}",
                    "d": "".join(path),
                    "fill": "none",
                    "vector-effect": "non-scaling-stroke",  # the drawing is stretched, its lines are not
                },
            )


def _point(plane: _Plane, at: int, value: float) -> str:
    return f"{number(plane.middle(at))} {number(HEIGHT - plane.height(value))}"


def _grid(plane: _Plane) -> Iterator[Markup]:
    for tick in plane.ticks:
        y = TOP + HEIGHT - plane.height(tick)
        style = "chart-base" if tick == 0 else "chart-grid"
        yield element("line", {"class": style, "x1": "0", "x2": "100%", "y1": y, "y2": y})


def _axis(timeline: Timeline, plane: _Plane) -> Markup:
    """Return the labels at the left, in a picture of their own: they are as wide as they are."""
    labels = [
        element(
            "text",
            {
                "x": AXIS_WIDTH - 6,
                "y": TOP + HEIGHT - plane.height(tick),
                "text-anchor": "end",
                "dominant-baseline": "middle",
            },
            timeline.unit.short(tick),
        )
        for tick in plane.ticks
    ]
    size = {"width": AXIS_WIDTH, "height": TOP + HEIGHT + BOTTOM}
    return element("svg", {"class": "chart-axis", **size, "aria-hidden": "true"}, *labels)


def _times(timeline: Timeline) -> Iterator[Markup]:
    """Yield the labels below. A script writes those of hours in the viewer's zone; days are UTC's own."""
    marks = time_ticks(timeline.times, timeline.step)
    every = marks[1] - marks[0] if len(marks) > 1 else timeline.step
    whole = len(timeline.times) * timeline.step
    for place, mark in enumerate(marks):
        share = (mark - timeline.times[0]) / whole
        # In the middle of its place the first or the last label would stand beyond the edge.
        anchor = "start" if share < 0.04 else "end" if share > 0.96 else "middle"
        attributes: dict[str, str | float] = {
            "class": "chart-time" + (" chart-minor" if place % 2 else ""),  # a narrow chart leaves every other one out
            "x": f"{number(100 * share)}%",
            "y": TOP + HEIGHT + 17,
            "text-anchor": anchor,
        }
        if every < timedelta(days=1):
            attributes["data-at"] = mark.isoformat()
        yield element("text", attributes, clock_text(mark, every))


def _description(timeline: Timeline, plane: _Plane) -> str:
    """Return what the picture shows in a sentence or two."""
    if plane.highest <= 0:
        return timeline.nothing
    sums = [sum(column[at] or 0.0 for column in plane.columns) for at in range(plane.steps)]
    highest = max(range(plane.steps), key=sums.__getitem__)
    names = ", ".join(each.label for each in timeline.series)
    return (
        f"{names}, from {timeline.times[0]:%d %b %H:%M} to {timeline.times[-1] + timeline.step:%d %b %H:%M} UTC. "
        f"Most at {timeline.times[highest]:%d %b %H:%M}: {timeline.unit.full(sums[highest])}."
    )
