"""Gemini's grounding and citations as OpenAI's annotations. Pure.

Source of the shapes: google.ai.generativelanguage.v1beta (GroundingMetadata, CitationMetadata), whose places are
counted in bytes of UTF-8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def to_annotations(grounding: Any, citation: Any, text: str) -> list[Any]:
    """Return the annotations of an answer, each once.

    Args:
        grounding: its `groundingMetadata`: what it was found by. Of sources that no place is named for it is the whole.
        citation: its `citationMetadata`: what it repeats.
        text: the whole answer.
    """
    encoded = text.encode()
    found: dict[tuple[int, int, str], Any] = {}
    for begin, end, url, title in (*_grounded(grounding, len(encoded)), *_cited(citation, len(encoded))):
        start_index, end_index = _characters(encoded, begin), _characters(encoded, end)
        about = {"start_index": start_index, "end_index": end_index, "url": url, "title": title or url}
        found.setdefault((start_index, end_index, url), {"type": "url_citation", "url_citation": about})
    return list(found.values())


_Place = tuple[int, int, str, str]
"""The first byte and the one behind the last, the address and the title."""


def _grounded(grounding: Any, size: int) -> Iterator[_Place]:
    sources = [_web(chunk) for chunk in _list(grounding, "groundingChunks")]
    supported: set[int] = set()
    for support in _list(grounding, "groundingSupports"):
        segment = support.get("segment")
        for number in _list(support, "groundingChunkIndices", kind=int):
            if 0 <= number < len(sources) and (source := sources[number]) is not None:
                supported.add(number)
                yield _number(segment, "startIndex", 0), _number(segment, "endIndex", size), *source
    for number, source in enumerate(sources):
        if source is not None and number not in supported:
            yield 0, size, *source


def _cited(citation: Any, size: int) -> Iterator[_Place]:
    for source in (*_list(citation, "citationSources"), *_list(citation, "citations")):
        url, title = source.get("uri"), source.get("title")
        if isinstance(url, str) and url:
            begin, end = _number(source, "startIndex", 0), _number(source, "endIndex", size)
            yield begin, end, url, title if isinstance(title, str) else ""


def _web(chunk: dict[str, Any]) -> tuple[str, str] | None:
    """Return the address and the title of a source; None for one without an address."""
    for kind in ("web", "retrievedContext", "maps"):
        source = chunk.get(kind)
        if isinstance(source, dict) and isinstance(source.get("uri"), str) and source["uri"]:
            return source["uri"], source["title"] if isinstance(source.get("title"), str) else ""
    return None


def _list(value: Any, name: str, kind: type = dict) -> list[Any]:
    found = value.get(name) if isinstance(value, dict) else None
    return [one for one in found if isinstance(one, kind)] if isinstance(found, list) else []


def _number(value: Any, name: str, otherwise: int) -> int:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, int) and not isinstance(found, bool) else otherwise


def _characters(encoded: bytes, place: int) -> int:
    """Return how many characters stand before a byte."""
    # A place in the middle of a character's bytes counts as one before it.
    return len(encoded[: max(0, place)].decode(errors="ignore"))
