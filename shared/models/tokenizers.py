"""Counts tokens by OpenAI's vocabulary o200k, times a stated factor for models whose maker publishes none.

It is compiled into the package `toktok-rs`: nothing is downloaded. Why that one, and where the factors are from, is in
docs/decisions/0016-token-counts.md.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

import toktok

if TYPE_CHECKING:
    from collections.abc import Sequence

_VOCABULARY: Final = "o200k_base"
_FACTORS: Final = (
    (re.compile(r"(ft:|chat)?gpt-|o[0-9]|chat-latest"), 1.0),
    (re.compile(r"claude-(opus-4-[78]|[a-z]+-5)"), 1.6),
)
"""Factors of counts; the first match counts."""
_OTHERS: Final = 1.2
"""Claude's models before Opus 4.7, and whatever else is paid for."""


def read_vocabulary() -> None:
    """Read the vocabulary, once: a second in which no other Python code runs, so before anything is served; 60 MB."""
    toktok.batch_count([""], _VOCABULARY, threads=1)


def count_tokens(texts: Sequence[str], model: str) -> int:
    """Return how many tokens texts are for a model, at most a token a byte.

    Takes a second for each 15 to 200 MB without holding Python's lock: to be called in a thread.
    """
    factor = next((factor for pattern, factor in _FACTORS if pattern.match(model)), _OTHERS)
    sizes = [len(text.encode("utf-8", "surrogatepass")) for text in texts]
    try:
        counts = toktok.batch_count(texts, _VOCABULARY, threads=1)
    except UnicodeEncodeError:  # half a character
        whole = [text.encode("utf-8", "replace").decode() for text in texts]
        counts = toktok.batch_count(whole, _VOCABULARY, threads=1)
    return sum(min(size, math.ceil(count * factor)) for size, count in zip(sizes, counts, strict=True))
