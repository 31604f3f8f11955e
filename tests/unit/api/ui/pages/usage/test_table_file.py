"""The usage log as a file for spreadsheets."""

from __future__ import annotations

import csv
import io
import re

from hypothesis import given
from hypothesis import strategies as st

from api.ui.pages.usage.table_file import safe_cell


@given(st.text() | st.text("a;,\t\n =+-@\"'"))
def test_no_text_becomes_a_formula(text: str) -> None:
    """Whatever a key or a model is called."""
    cell = safe_cell(text)
    for part in re.split(r"[;,|\t\r\n]", cell):
        assert not part.strip(" \"'").startswith(("=", "+", "-", "@")) or part.startswith("'")
    assert cell.replace("'", "") == text.replace("'", "")


@given(st.lists(st.text(st.characters(exclude_characters="\0\r")), min_size=1, max_size=5))
def test_cells_come_back_as_they_were(texts: list[str]) -> None:
    """Quotes, commas and line breaks within them, too."""
    written = io.StringIO()
    csv.writer(written).writerow([safe_cell(text) for text in texts])
    (row,) = csv.reader(io.StringIO(written.getvalue()), strict=True)
    assert row == [safe_cell(text) for text in texts]


@given(st.floats(min_value=0, max_value=1e6))
def test_a_cost_is_written_without_an_exponent(cost_usd: float) -> None:
    """Spreadsheets of some languages take that for a text."""
    cell = safe_cell(cost_usd)
    assert "e" not in cell
    assert abs(float(cell) - cost_usd) <= 1e-9
