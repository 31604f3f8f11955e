"""Claude's citations as OpenAI's annotations. Pure.

Source of the shapes: Anthropic's Messages API (TextCitation: CitationsWebSearchResultLocation,
CitationsSearchResultLocation, and those of documents, which have no address and so no place in OpenAI's format).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


def to_annotations(citations: Iterable[Any], start: int, end: int) -> list[Any]:
    """Return the annotations of a text block, each source once.

    Args:
        citations: the block's.
        start: where the block begins in the answer, in characters.
        end: where it ends.
    """
    found: dict[str, dict[str, Any]] = {}
    for citation in citations:
        given = citation if isinstance(citation, dict) else {}
        url = given.get("url") or given.get("source")
        if isinstance(url, str) and url.startswith(("http://", "https://")):
            title = given.get("title")
            about = {"url": url, "title": title if isinstance(title, str) else url}
            found[url] = {"type": "url_citation", "url_citation": {"start_index": start, "end_index": end, **about}}
    return list(found.values())
