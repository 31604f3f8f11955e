"""Tables, for scripts and for terminals."""

from __future__ import annotations

import contextlib
import io
import sys

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.tables import print_table


def test_values_are_whole_where_no_terminal_is(capsys: pytest.CaptureFixture[str]) -> None:
    """However long: nothing is cut or wrapped."""
    print_table(("A", "B"), [("x" * 300, "y" * 300), ("short", None)])
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["A", "B"],
        ["x" * 300, "y" * 300],
        ["short", "-"],
    ]


def test_control_characters_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Names of models are chosen by clients."""
    print_table(("Model",), [("a\nb\x1b[31mc",)])
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 2
    assert "\x1b" not in out


KEY_ID = "0192f0c4-7a1e-7cc3-98c4-dc0c0c07398f"
COLUMNS = ("ID", "Name", "RPM", "Admin", "Created", "Prefix", "Last used")
ROW = (KEY_ID, "the application of the accounting department", 60, "no", "2026-11-23T03:12:00Z", "sk-nself-9136", None)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_row_is_one_line_of_a_terminal_with_its_id_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    """What does not fit is left out, and said; `--wide` has all of it."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_table(COLUMNS, [ROW, ROW], wide=False)
    head, first, second, *hint = click.unstyle(capsys.readouterr().out).splitlines()
    assert max(map(len, (head, first, second, *hint))) <= width
    assert [row.split()[0] for row in (first, second)] == [KEY_ID, KEY_ID]
    assert hint[0].startswith("Not shown without --wide: ")
    assert all(name in head or name in " ".join(hint) for name in COLUMNS)
    print_table(COLUMNS, [ROW], wide=True)
    assert capsys.readouterr().out.splitlines()[1].split("  ")[-1].strip() == "-"


def test_a_text_has_what_room_the_others_leave(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A title beside a long id is shown as far as it fits, rather than not at all."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_table(("ID", "Category", "Title"), [("i" * 56, "c" * 15, "t" * 70)], most_wanted=("ID", "Title"))
    _, row, _ = click.unstyle(capsys.readouterr().out).splitlines()
    assert row == f"{'i' * 56}  {'t' * 21}\N{HORIZONTAL ELLIPSIS}"


@given(
    rows=st.lists(st.tuples(st.text(max_size=50), st.text(max_size=200), st.integers()), max_size=5),
    width=st.integers(60, 200),
)
def test_no_row_is_wider_than_the_terminal(rows: list[tuple[str, str, int]], width: int) -> None:
    """As long as the first column, which is never cut, leaves room."""
    out = io.StringIO()
    out.isatty = lambda: True  # type: ignore[method-assign]  # a double
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.setenv("COLUMNS", str(width))
        print_table(("Name", "Text", "Number"), rows)
    lines = click.unstyle(out.getvalue()).splitlines()
    assert max(map(len, lines), default=0) <= width
    assert len(lines) <= len(rows) + 3
