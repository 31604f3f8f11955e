"""Files from the browser become documents."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.ui.pages.knowledge.files import MOST_FILE_BYTES, document_of
from shared.errors import InvalidRequest

VISIBLE = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=40)


@given(st.lists(VISIBLE, min_size=1, max_size=20), st.sampled_from(["\n", "\n\n", " "]))
def test_no_word_of_a_file_is_lost(words: list[str], gap: str) -> None:
    """Whatever it is made of: headings stand in titles, all else in contents."""
    found = document_of("notes.md", gap.join(["begins", *words]).encode(), "operator")
    text = "".join(chunk.title + chunk.content for chunk in found.chunks)
    assert "begins" in text
    assert all(len(chunk.content) <= 1000 for chunk in found.chunks)


@pytest.mark.parametrize(
    ("name", "raw", "category", "said"),
    [
        ("a.pdf", b"%PDF", "operator", "nself claw knowledge add"),
        ("a", b"text", "operator", "not Markdown or text"),
        ("a.md", b"\xff\xfe", "operator", "not in UTF-8"),
        ("a.md", b" \n\n ", "operator", "no text"),
        ("a.md", b"x" * (MOST_FILE_BYTES + 1), "operator", "larger than 1024 KiB"),
        ("a.md", b"text", "Our Servers", "small letters"),
        ("x" * 2000 + ".md", b"text", "operator", "length"),
    ],
)
def test_what_cannot_be_added_is_refused_by_name(name: str, raw: bytes, category: str, said: str) -> None:
    """With what to do instead."""
    with pytest.raises(InvalidRequest) as refused:
        document_of(name, raw, category)
    assert said in str(refused.value)
    assert refused.value.param in {"files", "category"}


def test_the_same_bytes_in_another_category_are_another_document() -> None:
    """The hash tells whether something is to be done again."""
    assert document_of("a.md", b"text", "a").hash != document_of("a.md", b"text", "b").hash
