"""Tables on standard output."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_GAP: Final = "  "
_TEXTS_IN_A_LINE: Final = 4
"""No text but the first takes more than so much of a line, unless it would stay empty."""
_LEAST_TEXT: Final = 12
"""A text that is cut shorter than so many characters says nothing."""


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    wide: bool | None = None,
    most_wanted: Sequence[str] = (),
) -> None:
    """Print one line for each row: whole for scripts, as much of it as fits for a terminal.

    Cells hold no control characters, so that a value from outside can neither break a line nor steer the terminal.

    Args:
        columns: their heads.
        rows: a value for each column.
        wide: whether a terminal gets every column too, whole, however long that makes the lines; None where the command
            has no such option.
        most_wanted: the most important columns, where these are not the first ones; those that do not fit are left out
            from the end.
    """
    cells = [[*columns], *([_printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    # A script needs one line for each row, and a terminal folds what it is given.
    if wide or not sys.stdout.isatty():
        _print_lines(cells, range(len(columns)), widths)
        return
    room = shutil.get_terminal_size().columns
    wanted = [*most_wanted, *(column for column in columns if column not in most_wanted)]
    shown, widths = _fitted(columns, widths, [column for column in wanted if column in columns], room)
    _print_lines(cells, shown, widths)
    missing = [column for number, column in enumerate(columns) if number not in shown]
    if missing:
        hint = f"Not shown without {'--json' if wide is None else '--wide'}: {', '.join(missing)}."
        click.secho(textwrap.fill(hint, room), dim=True)


def _fitted(
    columns: Sequence[str], widths: list[int], most_wanted: Sequence[str], room: int
) -> tuple[list[int], list[int]]:
    """Return which columns fit, in their order, and the width of each: long texts are cut, ids never."""
    longest = room // _TEXTS_IN_A_LINE
    fitted, left = list(widths), room
    shown: list[int] = []
    for column in most_wanted:
        number = columns.index(column)
        is_whole = not shown or column.endswith(("ID", "Time", "Request"))
        width = widths[number] if is_whole else min(widths[number], max(min(longest, left), _LEAST_TEXT))
        # The first is the one that rows are known by: it is there, whatever the terminal makes of it.
        if shown and width > left:
            break
        fitted[number] = width
        shown.append(number)
        left -= width + len(_GAP)
    left = max(0, left + len(_GAP))  # no gap follows the last column
    for number in shown:
        more = min(left, widths[number] - fitted[number])
        fitted[number] += more
        left -= more
    return sorted(shown), fitted


def _print_lines(cells: Sequence[Sequence[str]], shown: Iterable[int], widths: Sequence[int]) -> None:
    shown = list(shown)
    for row in cells:
        click.echo(_GAP.join(_cut(row[number], widths[number]).ljust(widths[number]) for number in shown).rstrip())


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _printable(value: object) -> str:
    return printable("-" if value is None or value == "" else str(value))


def printable(text: str) -> str:
    """Return a text from outside as it may be shown: what is not printable is replaced."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
