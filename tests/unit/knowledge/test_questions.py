"""The questions that measure the search of the knowledge base are fit to measure it."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections import defaultdict
from typing import Any

from tests.unit.house.tree import ROOT

KNOWLEDGE = ROOT / "knowledge"
QUESTIONS: list[dict[str, Any]] = tomllib.loads((KNOWLEDGE / "questions.toml").read_text("utf-8"))["question"]
FILES = [tomllib.loads(path.read_text("utf-8")) for path in (KNOWLEDGE / "nself").glob("*.toml")]
CATEGORIES = {chunk["id"]: file["category"] for file in FILES for chunk in file["chunk"]}
TITLES = {chunk["id"]: chunk["title"] for file in FILES for chunk in file["chunk"]}
STOP = """
an and any are as at be but by can do does for from has have how if in into is it its just me my no not of off on once
one only or our out over should so some than that the their them then there they this to too under up was we what when
where which who why will with without would you your
"""
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


def test_every_chunk_of_a_question_is_in_the_corpus() -> None:
    """A chunk that is renamed or taken out takes its questions along."""
    assert {chunk for question in QUESTIONS for chunk in question["chunks"]} - set(TITLES) == set()


def test_half_of_each_language_and_category_is_held_out() -> None:
    """To one question; and every category is asked for in both halves."""
    halves: dict[str, list[bool]] = {category: [] for category in CATEGORIES.values()}
    for question in QUESTIONS:
        for name in (question["language"], CATEGORIES[question["chunks"][0]]):
            halves.setdefault(name, []).append(question["held_out"])
    assert [name for name, held in halves.items() if len(set(held)) < 2 or abs(2 * sum(held) - len(held)) > 1] == []


def test_a_chunk_is_asked_for_in_one_half_only() -> None:
    """As the best one: what is tuned for an open question does not flatter those held out."""
    halves: dict[str, set[bool]] = defaultdict(set)
    for question in QUESTIONS:
        halves[question["chunks"][0]].add(question["held_out"])
    assert [chunk for chunk, half in halves.items() if len(half) > 1] == []


def _words(text: str) -> set[str]:
    """Return the words of a text that carry its content, without endings of English."""
    letters = "".join(letter if unicodedata.category(letter)[0] in "LM" else " " for letter in text.casefold())
    words = {word for word in letters.split() if len(word) > 1} - set(STOP.split())
    return {re.sub(r"(?<=\w{3})(ing|ies|ed|es|s|e|y)$", "", word) for word in words}


def test_a_question_has_other_words_than_the_titles() -> None:
    """At most a third of them: a search that compares words with titles alone does not pass for a good one."""
    same = {}
    for question in QUESTIONS:
        asked = _words(question["text"])
        shared = asked & _words(" ".join(TITLES[chunk] for chunk in question["chunks"]))
        if 3 * len(shared) > len(asked):
            same[question["text"]] = shared
    assert same == {}
