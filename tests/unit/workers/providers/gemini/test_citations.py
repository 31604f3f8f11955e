"""workers/providers/gemini/citations.py."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from workers.providers.gemini.citations import to_annotations


def test_sources_and_repeated_texts_are_annotations() -> None:
    """Bytes become characters; a source without a place is one of the whole, and each is told once."""
    web = {"web": {"uri": "https://a.example", "title": "A"}}
    grounding = {
        "groundingChunks": [web, {"web": {"uri": "https://b.example"}}, {"web": {}}, {"other": {}}],
        "groundingSupports": [
            {"segment": {"startIndex": 0, "endIndex": 7}, "groundingChunkIndices": [0, 0, 2, 9]},
            {"segment": {"endIndex": 7}, "groundingChunkIndices": [0]},
        ],
    }
    citation = {"citationSources": [{"startIndex": 2, "endIndex": 400, "uri": "https://c.example", "license": "mit"}]}
    assert [one["url_citation"] for one in to_annotations(grounding, citation, "Grüße!")] == [
        {"start_index": 0, "end_index": 5, "url": "https://a.example", "title": "A"},
        {"start_index": 0, "end_index": 6, "url": "https://b.example", "title": "https://b.example"},
        {"start_index": 2, "end_index": 6, "url": "https://c.example", "title": "https://c.example"},
    ]


WORDS = st.sampled_from(
    [
        "groundingChunks",
        "groundingSupports",
        "web",
        "uri",
        "title",
        "segment",
        "startIndex",
        "groundingChunkIndices",
        "citations",
    ]
)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(WORDS, inner)
)


@given(JUNK, JUNK)
def test_whatever_stands_there_loses_no_answer(grounding: Any, citation: Any) -> None:
    """What cannot be read is no source."""
    for one in to_annotations(grounding, citation, "Grüße!"):
        assert set(one["url_citation"]) == {"start_index", "end_index", "url", "title"}
