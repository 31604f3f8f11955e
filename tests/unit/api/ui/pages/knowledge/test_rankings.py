"""What the Knowledge page says of how chunks are found."""

from __future__ import annotations

from pathlib import Path

from api.prompt.knowledge.base import HowSearched, Rankings
from api.ui.pages.knowledge.figures import held_out_figures
from api.ui.pages.knowledge.handlers import category_choices, places, why


def test_each_chunk_has_its_place_in_both_rankings() -> None:
    """None where one has not found it."""
    found = {each: (words, meaning) for each, words, meaning in places(Rankings(["a", "b"], ["b", "c"]), 10)}
    assert found == {"a": (1, None), "b": (2, 1), "c": (None, 2)}
    assert places(Rankings(["a"], None), 10) == [("a", 1, None)]


def test_it_is_said_why_vectors_are_not_searched() -> None:
    """And what to do about it."""
    assert "no pgvector" in why(HowSearched("text", pgvector=False, model=None, vectors=0, failed=0))
    assert "nself claw models install" in why(HowSearched("text", pgvector=True, model=None, vectors=0, failed=0))
    assert "1,200 vectors of e5" in why(HowSearched("hybrid", pgvector=True, model="e5", vectors=1200, failed=0))
    assert "fails on 7 more" in why(HowSearched("hybrid", pgvector=True, model="e5", vectors=1200, failed=7))
    begun = HowSearched("text", pgvector=True, model=None, vectors=0, failed=0, making="e5", made=1300)
    assert "of 1,300 chunks so far, by e5" in why(begun)


def test_the_figures_are_those_of_the_documentation() -> None:
    """Three kinds of questions by three kinds of search, of the half that nothing was tuned on."""
    found = held_out_figures()
    assert len(found) == 9
    (both,) = [each for each in found if (each.questions, each.search) == ("all", "both together")]
    assert both.low <= both.recall <= both.high
    assert both.number == 135


def test_without_documentation_there_are_no_figures(tmp_path: Path) -> None:
    """A wheel has none."""
    assert held_out_figures(tmp_path) == ()


def test_a_category_that_is_chosen_is_offered() -> None:
    """Although it has no chunks any more."""
    assert category_choices({"a": 1}, "gone") == [("", "All"), ("a", "a (1)"), ("gone", "gone")]
