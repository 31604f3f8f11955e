"""The tables of docs/api.md: what becomes of each field of a request at each provider.

`python -m shared.models.parameter_tables` writes them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from shared.models.parameters import COLUMNS, EMBEDDING_FIELDS, FIELDS, Field
from shared.models.response_parameters import RESPONSE_FIELDS


def page_table(fields: dict[str, Field]) -> str:
    """Return a table as docs/api.md has it."""
    names = {"openai": "OpenAI and its like", "gemini": "Gemini", "anthropic": "Claude", "ollama": "Ollama"}
    lines = [f"| field | {' | '.join(names[column] for column in COLUMNS)} | |", "|---|---|---|---|---|---|"]
    for name, field in fields.items():
        actions = " | ".join(field.actions[column].value for column in COLUMNS)
        lines.append(f"| `{name}` | {actions} | {field.note} |")
    return "\n".join(lines) + "\n"


_TABLES: Final = {
    "<!-- of shared/models/parameters.py -->\n": FIELDS,
    "<!-- of shared/models/response_parameters.py -->\n": RESPONSE_FIELDS,
    "<!-- of shared/models/parameters.py: embeddings -->\n": EMBEDDING_FIELDS,
}
_END: Final = "<!-- end -->\n"


def with_tables(page: str) -> str:
    """Return a page with the tables in their places."""
    for begin, fields in _TABLES.items():
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(_END)
        page = f"{before}{begin}{page_table(fields)}{_END}{after}"
    return page


def main() -> None:
    """Write the tables into docs/api.md."""
    path = Path(__file__).resolve().parents[2] / "docs" / "api.md"
    path.write_text(with_tables(path.read_text()))


if __name__ == "__main__":
    main()
