"""Texts that the knowledge base takes."""

from __future__ import annotations

import pytest

from api.endpoints.knowledge.arguments import check_text
from shared.errors import InvalidRequest


@pytest.mark.parametrize("text", ["a\x00b", "a\ud800b", "\udfff", "abcd"])
def test_what_postgresql_cannot_hold_is_refused_by_name(text: str) -> None:
    """NUL, half a character, and what is too long."""
    with pytest.raises(InvalidRequest, match=r"^note must "):
        check_text("note", text, 3)


@pytest.mark.parametrize("text", ["", "abc", "\U0001f600\ud7ff\ue000"])
def test_any_other_text_is_taken(text: str) -> None:
    """Also what looks like half a character."""
    check_text("note", text, 3)
