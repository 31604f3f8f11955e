"""Vectors of embeddings, in whatever form they come. Pure.

Sources: llama.cpp's server without pooling in one list more (abetlen/llama-cpp-python#1588), and numbers that are none
as null (ggml-org/llama.cpp#14812); servers that send base64 whatever they are asked for.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import msgspec

from shared.openai.embeddings import from_base64


def to_vector(value: Any) -> list[float]:
    """Return the numbers of a vector; none where any of them is no number, as the others would be in wrong places."""
    while isinstance(value, list) and len(value) == 1 and isinstance(value[0], list | str):
        value = value[0]
    if isinstance(value, str):
        value = from_base64(value)
    if not isinstance(value, list):
        return []
    try:
        numbers = [float(one) for one in value]
    except (TypeError, ValueError):
        return []
    return numbers if all(map(math.isfinite, numbers)) else []


Vector = Annotated[list[float], msgspec.Meta(extra={"coerce": to_vector})]
"""A vector, which may come in another list, or as base64."""
