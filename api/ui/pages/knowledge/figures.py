"""Measured quality of the search: the tables of docs/knowledge.md. Pure but for reading that file."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from shared.settings import PROJECT_ROOT

if TYPE_CHECKING:
    from pathlib import Path

_LINE: Final = re.compile(
    r"^ +(?P<questions>all|English|others) +(?P<search>text|vectors|fused) +(?P<number>\d+)"
    r" +(?P<recall>\d\.\d\d) \[(?P<low>\d\.\d\d), (?P<high>\d\.\d\d)\] +(?P<mrr>\d\.\d\d) ",
    re.MULTILINE,
)
_HELD_OUT: Final = "knowledge eval --held-out"
_NAMES: Final = {"text": "by words", "vectors": "by meaning", "fused": "both together"}


class Figure(NamedTuple):
    """The measured quality of one kind of search with one set of questions."""

    questions: str
    search: str
    number: int
    recall: float
    low: float
    high: float
    mrr: float


@cache
def held_out_figures(root: Path = PROJECT_ROOT) -> tuple[Figure, ...]:
    """Return the figures of the questions that nothing was tuned on; none where the documentation is not installed."""
    path = root / "docs" / "knowledge.md"
    if not path.exists():
        return ()
    _, _, text = path.read_text(encoding="utf-8").partition(_HELD_OUT)
    return tuple(
        Figure(
            found["questions"],
            _NAMES[found["search"]],
            int(found["number"]),
            *(float(found[name]) for name in ("recall", "low", "high", "mrr")),
        )
        for found in _LINE.finditer(text)
    )
