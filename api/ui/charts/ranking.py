"""Bars in a list, the longest first or in any other order: a table with a bar in each row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from markupsafe import Markup

from api.ui.charts.markup import NO_VALUE, element, number
from api.ui.charts.scale import drawable
from api.ui.charts.units import COUNT, Unit

if TYPE_CHECKING:
    from collections.abc import Sequence

HEIGHT: Final = 8


class Bar(msgspec.Struct, frozen=True):
    """One row.

    Args:
        label: what it is of, a text or markup (a link, say).
        value: how long it is; None where that is not known.
        style: how it looks, as that of a series.
        note: what else is said of it.
    """

    label: str | Markup
    value: float | None
    style: str = "one"
    note: str = ""


def ranking(title: str, heads: tuple[str, str], rows: Sequence[Bar], unit: Unit = COUNT) -> Markup:
    """Return rows with their bars; the longest bar takes the whole width.

    Args:
        title: of the table, for those who do not see it.
        heads: what the labels and the values are.
        rows: in their order.
        unit: what the values are of.
    """
    values = [drawable(row.value) for row in rows]
    longest = max((value or 0.0 for value in values), default=0.0)
    lines = [
        element(
            "tr",
            {},
            element("th", {"scope": "row"}, row.label, _note(row.note)),
            element("td", {"class": "ranking-bar"}, share_bar((value or 0.0) / longest if longest else 0.0, row.style)),
            element("td", {"class": "num"}, NO_VALUE if value is None else unit.full(value)),
        )
        for row, value in zip(rows, values, strict=True)
    ]
    head = element(
        "tr",
        {},
        element("th", {"scope": "col"}, heads[0]),
        element("td", {}),
        element("th", {"scope": "col", "class": "num"}, heads[1]),
    )
    return element(
        "table",
        {"class": "ranking"},
        element("caption", {"class": "unseen"}, title),
        element("thead", {}, head),
        element("tbody", {}, *lines),
    )


def share_bar(share: float, style: str = "one") -> Markup:
    """Return a bar that is filled to a share between 0 and 1. What it says must stand beside it in words."""
    width = f"{number(100 * min(1.0, drawable(share) or 0.0))}%"
    shape: dict[str, str | float] = {"height": HEIGHT, "rx": HEIGHT / 2}
    return element(
        "svg",
        {"class": "share", "width": "100%", "height": HEIGHT, "aria-hidden": "true"},
        element("rect", {"class": "share-track", "width": "100%"} | shape),
        element("rect", {"class": f"series-{style}", "width": width} | shape),
    )


def _note(note: str) -> str | Markup:
    return element("span", {"class": "ranking-note"}, note) if note else ""
