"""Values as text: short at an axis, full in a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_LARGE: Final = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))


class Unit(NamedTuple):
    """The unit of values.

    Args:
        short: writes one at an axis.
        full: writes one in a table.
        is_whole: whether there is nothing between two whole numbers.
    """

    short: Callable[[float], str]
    full: Callable[[float], str]
    is_whole: bool = False


def short_count(value: float) -> str:
    """Write a count in a few characters, as in `1.2k`."""
    for size, letter in _LARGE:
        if value >= size * 0.9995:  # what would be rounded up to it
            return f"{_digits(value / size)}{letter}"
    return _digits(value)


def full_count(value: float) -> str:
    """Write a count with its thousands apart."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def short_usd(value: float) -> str:
    """Write dollars in a few characters: amounts below a cent in cents."""
    if value >= 999.5:
        return f"${short_count(value)}"
    if value >= 10 or value == 0:
        return f"${_digits(value)}"
    if value >= 0.01:
        written = f"{value:.4f}".rstrip("0")
        return f"${written}" if len(written) > len("0.00") else f"${value:.2f}"
    return f"{_small(100 * value)}¢"


def full_usd(value: float) -> str:
    """Write dollars to the cent, and amounts below one dollar to a hundredth of one."""
    return f"${value:,.2f}" if value >= 1 or value == 0 else f"${max(value, 0.0001):.4f}"


def short_seconds(value: float) -> str:
    """Write a duration in a few characters."""
    if value == 0:
        return "0 s"
    if value < 0.0009995:
        return f"{_digits(value * 1e6)} µs"
    if value < 0.9995:
        return f"{_digits(value * 1000)} ms"
    if value >= 86_400:
        return f"{short_count(value / 86_400)} d"
    for size, letter in ((3600, "h"), (60, "min")):
        if value >= size:
            return f"{_digits(value / size)} {letter}"
    return f"{_digits(value)} s"


COUNT: Final = Unit(short_count, full_count, is_whole=True)
USD: Final = Unit(short_usd, full_usd)
SECONDS: Final = Unit(short_seconds, short_seconds)


def _digits(value: float) -> str:
    """Write a number with three digits at the most, if it is below a thousand."""
    places = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
    written = f"{value:,.{places}f}"
    return written.rstrip("0").rstrip(".") if places else written


def _small(value: float) -> str:
    """Write a number below one to two digits that say something."""
    places = next((places for places in range(1, 10) if round(value, places) >= 10.0 ** (1 - places)), 10)
    return f"{value:.{places}f}".rstrip("0").rstrip(".") or "0"
