"""The rooms stay small: entries of a package, modules of a folder, lines of a module, statements of a function."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.unit.house.tree import PRODUCT, READS_ALL, ROOT, files, parsed, relative

pytestmark = READS_ALL

ENTRIES = {"api": 13, "workers": 17, "shared": 15}
MOST_MODULES = 15
MOST_MODULES_OF_TESTS = 25
MOST_LINES = 300
MOST_STATEMENTS = 30
WHOLE = {"shared/settings.py", "shared/errors.py", "shared/redis/names.py"}
"""Tables that a reader wants whole, however long they are."""
TREE = (*PRODUCT, "bench")


def _modules(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*.py") if path.name != "__init__.py"]


@pytest.mark.parametrize("package", sorted(ENTRIES))
def test_a_package_is_seen_at_a_glance(package: str) -> None:
    """Its folders and modules are few."""
    entries = [path for path in (ROOT / package).iterdir() if path.name not in {"__init__.py", "__pycache__"}]
    assert len(entries) <= ENTRIES[package]


def test_a_folder_has_few_modules() -> None:
    """A prefix before three files is a missing folder, and a long list hides its order."""
    of_product = {path.parent for path in files(*TREE)}
    of_tests = {path.parent for path in files("tests")}
    crowded = [relative(folder) for folder in of_product if len(_modules(folder)) > MOST_MODULES]
    crowded += [relative(folder) for folder in of_tests if len(_modules(folder)) > MOST_MODULES_OF_TESTS]
    assert crowded == []


def test_a_module_is_short() -> None:
    """But for the tables that are wanted whole."""
    lengths = {relative(path): len(path.read_text().splitlines()) for path in files(*TREE)}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES and name not in WHOLE} == {}


def _statements(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how many statements a function has, without its docstring and itself."""
    count = sum(isinstance(node, ast.stmt) for node in ast.walk(function)) - 1
    return count - (ast.get_docstring(function) is not None)


def test_a_function_is_short() -> None:
    """Also with all that is defined inside it."""
    long = {
        f"{relative(path)}:{node.name}": _statements(node)
        for path in files(*TREE)
        for node in ast.walk(parsed(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and _statements(node) >= MOST_STATEMENTS
    }
    assert long == {}
