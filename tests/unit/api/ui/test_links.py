"""Addresses of pages."""

from __future__ import annotations

from urllib.parse import urlsplit

from hypothesis import given
from hypothesis import strategies as st

from api.ui.links import inner_path


@given(st.text(st.sampled_from("/ui.\\:@a?&=%#<\"' \t\n")) | st.text())
def test_nobody_is_sent_to_another_place_after_signing_in(text: str) -> None:
    """Whatever `next` says, what follows is a path of the pages."""
    found = inner_path(text)
    assert urlsplit(found).netloc == ""
    assert found in {"/ui", "/ui/"} or found.startswith(("/ui/", "/ui?"))
    assert not set(found) & set('\\\r\n"<>')


def test_a_page_with_its_query_is_kept() -> None:
    """So that a filter that was linked is there."""
    assert inner_path("/ui/usage?key=1&tier=local") == "/ui/usage?key=1&tier=local"
