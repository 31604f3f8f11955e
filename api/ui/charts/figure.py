"""The frame of a picture: its title, its legend, and a table that says the same."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from markupsafe import Markup

from api.ui.charts.markup import NO_VALUE, element

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from typing import Protocol

    from api.ui.charts.units import Unit

    class Labelled(Protocol):
        """A series, as far as it matters here."""

        @property
        def label(self) -> str: ...
        @property
        def style(self) -> str: ...

    class Titled(Protocol):
        """A chart over time, as far as it matters here."""

        @property
        def title(self) -> str: ...
        @property
        def nothing(self) -> str: ...
        @property
        def times(self) -> Sequence[datetime]: ...
        @property
        def step(self) -> timedelta: ...
        @property
        def series(self) -> Sequence[Labelled]: ...
        @property
        def unit(self) -> Unit: ...


def figure(
    chart: Titled, columns: Sequence[Sequence[float | None]], *, axis: Markup, plot: Markup, is_empty: bool
) -> Markup:
    """Return a chart whole.

    Args:
        chart: what is drawn.
        columns: the values of each series.
        axis: the labels at its left.
        plot: the picture.
        is_empty: whether there is nothing to see.
    """
    note = (element("p", {"class": "chart-nothing"}, chart.nothing),) if is_empty else ()
    by_day = chart.step >= timedelta(days=1)
    zone = {} if by_day else {"data-zone": ""}
    return element(
        "figure",
        {"class": "chart", **({} if is_empty else {"data-chart": str(len(chart.times))})},
        element(
            "figcaption",
            {"class": "chart-head"},
            element("span", {"class": "chart-title"}, chart.title),
            legend(chart.series) if len(chart.series) > 1 else "",
        ),
        element("div", {"class": "chart-body"}, axis, element("div", {"class": "chart-area"}, plot, *note)),
        element("p", {"class": "chart-zone"} | zone, "Days of UTC" if by_day else "UTC"),
        "" if is_empty else table(chart, columns),
    )


def legend(series: Iterable[Labelled]) -> Markup:
    """Return which colour is what."""
    entries = [
        element(
            "li",
            {},
            element(
                "svg",
                {"class": "chart-key", "width": 10, "height": 10, "aria-hidden": "true"},
                element("rect", {"class": f"series-{each.style}", "width": 10, "height": 10, "rx": 2}),
            ),
            each.label,
        )
        for each in series
    ]
    return element("ul", {"class": "chart-legend"}, *entries)


def table(chart: Titled, columns: Sequence[Sequence[float | None]]) -> Markup:
    """Return the values as a table, folded."""
    heads = [element("th", {"scope": "col"}, each.label) for each in chart.series]
    rows = [
        element(
            "tr",
            {},
            element("th", {"scope": "row"}, _time(moment, chart.step)),
            *(element("td", {}, _cell(column[at], chart.unit)) for column in columns),
        )
        for at, moment in enumerate(chart.times)
    ]
    head = element("thead", {}, element("tr", {}, element("th", {"scope": "col"}, "From"), *heads))
    caption = element("caption", {"class": "unseen"}, chart.title)
    whole = element("table", {"class": "chart-table"}, caption, head, element("tbody", {}, *rows))
    # It scrolls within its own box, by keyboard too.
    box = {"class": "scroll", "tabindex": "0", "role": "region", "aria-label": f"{chart.title}: table"}
    return element(
        "details", {"class": "chart-values"}, element("summary", {}, "Show as a table"), element("div", box, whole)
    )


def _time(moment: datetime, step: timedelta) -> Markup:
    if step >= timedelta(days=1):
        return element("span", {}, f"{moment.day} {moment:%b %Y}")
    return element("time", {"datetime": moment.isoformat()}, f"{moment.day} {moment:%b %H:%M}")


def _cell(value: float | None, unit: Unit) -> str:
    return NO_VALUE if value is None else unit.full(value)
