"""A line of the size of a word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from markupsafe import Markup

from api.ui.charts.markup import element, number
from api.ui.charts.scale import drawable

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH: Final = 96
HEIGHT: Final = 24
_INSET: Final = 2


def sparkline(values: Sequence[float | None], label: str, style: str = "one") -> Markup:
    """Draw values as a small line from 0 to the highest.

    Args:
        values: the oldest first; None is taken for 0.
        label: what it shows, in words, for those who do not see it.
        style: how it looks, as that of a series.
    """
    drawn = [drawable(value) or 0.0 for value in values]
    highest = max(drawn, default=0.0) or 1.0
    apart = (WIDTH - 2 * _INSET) / max(1, len(drawn) - 1)
    points = [
        f"{number(_INSET + at * apart)} {number(HEIGHT - _INSET - (HEIGHT - 2 * _INSET) * value / highest)}"
        for at, value in enumerate(drawn)
    ]
    size: dict[str, str | float] = {"width": WIDTH, "height": HEIGHT, "viewBox": f"0 0 {WIDTH} {HEIGHT}"}
    path = f"M{'L'.join(points)}{'h0' if len(points) == 1 else ''}"
    return element(
        "svg",
        {"class": "sparkline", **size, "role": "img", "aria-label": label},
        element("path", {"class": f"chart-line series-{style}", "d": path, "fill": "none"}) if points else "",
    )
