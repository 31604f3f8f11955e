"""Rankings are fused by the reciprocals of their ranks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from api.prompt.knowledge.fusion import fused

rankings = st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True), max_size=4)


def test_what_two_rankings_have_comes_before_what_one_has() -> None:
    """Though neither has it first."""
    assert fused([(1.0, ["a", "b"]), (1.0, ["c", "b"])]) == ["b", "a", "c"]


def test_a_weight_decides_between_rankings() -> None:
    """The first of the heavier one is the first."""
    assert fused([(1.0, ["a"]), (2.0, ["b"])]) == ["b", "a"]


@given(rankings)
def test_everything_is_there_once(found: list[list[str]]) -> None:
    """Of one ranking in its own order."""
    result = fused([(1.0, ranking) for ranking in found])
    assert sorted(result) == sorted({each for ranking in found for each in ranking})
    if len(found) == 1:
        assert result == found[0]
