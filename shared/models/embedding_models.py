"""Facts about embedding models, by name: whether their vectors may be cut, whose token ids they are asked with."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

Vocabulary = Literal["cl100k_base", "o200k_base", "own"]


class EmbeddingEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An embedding model of the catalogue.

    Vectors of a model with `min_dimensions` still mean something when they are cut down to so many numbers (it was
    trained so: Matryoshka). `vocabulary` is that of the token ids that clients send in the place of text; `own` ids
    are the model's, and go to it as they are. With some models questions, and texts that may answer them, begin with
    words of their own: `query_start` and `passage_start`; with `takes_input_type` its server puts them there.
    """

    min_dimensions: Annotated[int, msgspec.Meta(ge=1)] | None = None
    vocabulary: Vocabulary = "cl100k_base"
    query_start: str = ""
    passage_start: str = ""
    takes_input_type: bool = False
    checked: date | None = None
    sources: tuple[str, ...] = ()


UNKNOWN = EmbeddingEntry()
"""A model that is not in the catalogue: OpenAI's clients take the vocabulary cl100k for every name they do not know."""


def embedding_entry(entries: Mapping[str, EmbeddingEntry], model: str) -> EmbeddingEntry:
    """Return what is known of a model: the longest name in the catalogue with which its own begins.

    Folders before it do not count, nor does case: servers say `nomic-embed-text:latest`, or the name of a file.
    """
    if (found := entries.get(model)) is not None:
        return found
    name = model.rpartition("/")[2].lower()
    known = [start for start in entries if name.startswith(start)]
    # The longest: a family's entry must not stand for a member that has one of its own.
    return entries[max(known, key=len)] if known else UNKNOWN
