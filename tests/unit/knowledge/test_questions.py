"""The questions that measure the search of the knowledge base are fit to measure it."""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any

KNOWLEDGE = Path(__file__).parents[3] / "knowledge"
QUESTIONS: list[dict[str, Any]] = tomllib.loads((KNOWLEDGE / "questions.toml").read_text("utf-8"))["question"]
FORM = {"text": str, "chunks": list, "language": str, "held_out": bool}


def test_a_question_has_four_values() -> None:
    """No fewer and no others, each of its type; one to three chunks; a primary language."""
    for question in QUESTIONS:
        assert {name: type(value) for name, value in question.items()} == FORM
        assert question["text"] == question["text"].strip() != ""
        assert 1 <= len(question["chunks"]) == len(set(question["chunks"])) <= 3
        assert re.fullmatch(r"[a-z]{2}", question["language"])


def test_no_question_is_asked_twice() -> None:
    """Not in other letters or with another mark at its end either."""
    texts = [" ".join(re.findall(r"\w+", question["text"].casefold())) for question in QUESTIONS]
    assert sorted(texts) == sorted(set(texts))


def test_the_questions_are_many_and_spread() -> None:
    """Over many chunks, and a third over nine languages beside English."""
    foreign = [question["language"] for question in QUESTIONS if question["language"] != "en"]
    assert len(QUESTIONS) >= 132
    assert len(foreign) * 3 >= len(QUESTIONS)
    assert len(set(foreign)) >= 9
    assert len({chunk for question in QUESTIONS for chunk in question["chunks"]}) >= 100


def _halves(by: str) -> dict[str, list[bool]]:
    """Return which questions are held out, by a value of theirs."""
    halves: dict[str, list[bool]] = defaultdict(list)
    for question in QUESTIONS:
        halves[question[by]].append(question["held_out"])
    return halves


def test_half_of_each_language_is_held_out() -> None:
    """To one question."""
    assert [name for name, held in _halves("language").items() if abs(2 * sum(held) - len(held)) > 1] == []


def test_a_chunk_is_asked_for_in_one_half_only() -> None:
    """As the best one: what is tuned for an open question does not flatter those held out."""
    halves: dict[str, set[bool]] = defaultdict(set)
    for question in QUESTIONS:
        halves[question["chunks"][0]].add(question["held_out"])
    assert [chunk for chunk, half in halves.items() if len(half) > 1] == []
