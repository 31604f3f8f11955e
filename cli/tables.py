"""Tables on standard output."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_GAP: Final = "  "


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows: drawn by rich on a terminal, else one line each with every value whole, for scripts.

    Cells hold no control characters, so that a value from outside can neither break a line nor steer the terminal.
    """
    cells = [[_printable(cell) for cell in row] for row in rows]
    # rich folds cells to the width of a terminal; a script needs one line for each row.
    if sys.stdout.isatty():
        table = Table()
        for number, column in enumerate(columns):
            table.add_column(column, overflow="fold", no_wrap=number == 0)
        for row in cells:
            table.add_row(*row)
        Console(markup=False, highlight=False).print(table)
        return
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for row in ([*columns], *cells):
        click.echo(_GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _printable(value: object) -> str:
    return printable("-" if value is None or value == "" else str(value))


def printable(text: str) -> str:
    """Return a text from outside as it may be shown: what is not printable is replaced."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
