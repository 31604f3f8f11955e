"""What the tests of the house read: the files of the repository, and their Python."""

from __future__ import annotations

import ast
import gc
from functools import cache
from pathlib import Path

import pytest

READS_ALL = pytest.mark.xdist_group("house")
"""Of the tests that parse the repository: one process does that for all of them."""
ROOT = Path(__file__).parents[3]
PRODUCT = ("api", "workers", "shared", "cli")
_VENDORED = ROOT / "bench" / "tools"


def relative(path: Path) -> str:
    """Return a path as it is written in this repository."""
    return path.relative_to(ROOT).as_posix()


def files(*tops: str, suffixes: tuple[str, ...] = (".py",)) -> list[Path]:
    """Return the files of some folders that are ours, without those that tools make."""
    return sorted(
        path
        for top in tops
        for path in (ROOT / top).rglob("*")
        if path.suffix in suffixes
        and _VENDORED not in path.parents
        and not {"__pycache__", "node_modules"} & set(path.parts)
    )


@cache
def parsed(path: Path) -> ast.Module:
    """Return the syntax tree of a module.

    Not while garbage is collected: a finaliser that leads to another `ast.parse` makes this one fail before Python
    3.11.8 (python/cpython#106905).
    """
    gc.disable()
    try:
        return ast.parse(path.read_text(), str(path))
    finally:
        gc.enable()
