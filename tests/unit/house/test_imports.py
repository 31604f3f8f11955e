"""Modules and folders build on each other in one direction. The layers themselves are contracts in pyproject.toml."""

from __future__ import annotations

import grimp

from tests.unit.house.tree import PRODUCT


def _cycle(edges: dict[str, set[str]]) -> list[str]:
    """Return the names on one cycle, or nothing."""
    done: set[str] = set()
    way: list[str] = []

    def visit(name: str) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        way.append(name)
        for other in sorted(edges.get(name, ())):
            if found := visit(other):
                return found
        way.pop()
        done.add(name)
        return []

    for name in sorted(edges):
        if found := visit(name):
            return found
    return []


def test_no_modules_import_each_other() -> None:
    """Nor in a circle of several."""
    graph = grimp.build_graph(*PRODUCT, cache_dir=None)
    edges = {name: set(graph.find_modules_directly_imported_by(name)) for name in graph.modules}
    assert _cycle(edges) == []
