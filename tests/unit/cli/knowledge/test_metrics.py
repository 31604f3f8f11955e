"""Figures of rankings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.knowledge.metrics import mean_of, recall, reciprocal_rank


@pytest.mark.parametrize(
    ("ranking", "right", "part", "rank"),
    [
        ("abcdef", "a", 1, 1),
        ("abcdef", "f", 0, 1 / 6),
        ("abcdef", "be", 1, 1 / 2),
        ("abcdef", "bf", 0.5, 1 / 2),
        ("", "a", 0, 0),
        ("abcdefg", "abcdefg", 1, 1),
    ],
)
def test_what_is_found_early_counts(ranking: str, right: str, part: float, rank: float) -> None:
    """Among the first five for recall, by its place for the other."""
    assert recall(list(ranking), list(right)) == part
    assert reciprocal_rank(list(ranking), list(right)) == rank


@given(st.lists(st.floats(min_value=0, max_value=1), min_size=1, max_size=30))
def test_an_interval_is_around_its_mean(values: list[float]) -> None:
    """And the same each time."""
    found = mean_of(values)
    assert min(values) - 1e-9 <= found.low <= found.value + 1e-9
    assert found.value - 1e-9 <= found.high <= max(values) + 1e-9
    assert mean_of(values) == found


def test_one_value_leaves_no_doubt() -> None:
    """Nor do many that are alike."""
    assert mean_of([0.5] * 10) == (0.5, 0.5, 0.5)
