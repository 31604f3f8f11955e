"""What becomes of a model's words for a title."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.prompt.titles import MOST_TITLE_CHARS, to_title
from shared.postgres.session_directory import MOST_FIRST_WORDS_CHARS, Untitled, first_words

RUSSIAN = "\u041f\u0435\u0440\u0435\u0437\u0430\u043f\u0443\u0441\u043a"
TURN = Untitled(UUID(int=1), None, "How do I restart nginx?", "Run nself restart nginx.")


@pytest.mark.parametrize(
    ("said", "title"),
    [
        ("Restarting nginx", "Restarting nginx"),
        ('  "Restarting nginx."\n\nHere is why ...', "Restarting nginx"),
        ("\n**Title: Restarting nginx**", "Restarting nginx"),
        ("Titel - Neustart von nginx", "Neustart von nginx"),
        ("# C++ and C#", "C++ and C"),
        ("nginx のリスタート", "nginx のリスタート"),
        ("a\tb\x1b[31mc", "a b [31mc"),
        ("", None),
        ("...", None),
        ("I would say that this conversation is about a user who wants to restart nginx", None),
        ("x" * (MOST_TITLE_CHARS + 1), None),
        ('Title: "Title: Restarting nginx', "Restarting nginx"),
        ('Title: "Title: "Title: "Title', None),
        ("nginx nginx nginx nginx", None),
        ("Run nself", None),
        ("How do I", "How do I"),
        (
            "\u041f\u0435\u0440\u0435\u0437\u0430\u043f\u0443\u0441\u043a nginx",
            "\u041f\u0435\u0440\u0435\u0437\u0430\u043f\u0443\u0441\u043a nginx",
        ),
        (RUSSIAN, None),
        ("42", "42"),
    ],
)
def test_a_title_is_a_few_words_of_one_line(said: str, title: str | None) -> None:
    """Without what models put around it; else there is none. What the answer begins with is no title of it."""
    assert to_title(said, TURN) == title


@given(st.text())
def test_whatever_a_model_says_is_a_title_or_none(said: str) -> None:
    """One that the table takes."""
    title = to_title(said, TURN)
    assert title is None or (0 < len(title) <= MOST_TITLE_CHARS and title.isprintable())


@given(st.text(st.characters(codec="utf-8")))
def test_first_words_are_the_beginning_of_a_text(text: str) -> None:
    """Of whole words where they fit."""
    words = first_words(text)
    assert len(words) <= MOST_FIRST_WORDS_CHARS + 1
    assert " ".join(text.split()).startswith(words.removesuffix("\N{HORIZONTAL ELLIPSIS}"))
