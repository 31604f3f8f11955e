"""The usage log as comma-separated values, for spreadsheets.

Source: RFC 4180. What a spreadsheet would take for a formula begins with an apostrophe (OWASP, "CSV Injection"), also
behind what it takes for the end of a cell: where decimals have a comma that is a semicolon, whatever is quoted.
"""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Any, Final

from api.endpoints.manage.usage import shown_entry
from shared.postgres.ui.usage import Cursor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.postgres.ui.usage import UsageReport

COLUMNS: Final = (
    "created_at", "request_id", "key_id", "key_name", "endpoint", "asked_model", "model", "tier", "stream", "status",
    "error_code", "prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "usage_source", "cost_usd",
    "attempts", "wait_ms", "first_token_ms", "duration_ms", "count", "purpose",
)  # fmt: skip
BATCH_ROWS: Final = 500
"""Number of rows that take some ten milliseconds to be written."""
MOST_ROWS: Final = 200_000
"""Number of rows that a spreadsheet still opens; more is for the database itself."""
_FORMULA: Final = re.compile(r"(^|[;,|\t\r\n])([ \"']*)(?=[=+@-])")


async def lines(report: UsageReport) -> AsyncIterator[bytes]:
    """Yield the file, a batch of rows at a time."""
    yield _encoded([COLUMNS])
    before, sent = None, 0
    while sent < MOST_ROWS:
        rows = await report.page(BATCH_ROWS, before)
        if rows:
            yield _encoded([[safe_cell(entry[name]) for name in COLUMNS] for entry in map(shown_entry, rows)])
            before = Cursor(rows[-1]["admitted_at"], rows[-1]["request_id"])
        sent += len(rows)
        if len(rows) < BATCH_ROWS:
            return


def safe_cell(value: Any) -> str:
    """Return a value as a spreadsheet shows it, and never computes it."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.10f}".rstrip("0").rstrip(".")
    if isinstance(value, int):
        return str(value)
    text = _FORMULA.sub(r"\1'\2", str(value))
    # These two begin a formula as well (OWASP's list).
    return "'" + text if text.startswith(("\t", "\r")) else text


def _encoded(rows: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
