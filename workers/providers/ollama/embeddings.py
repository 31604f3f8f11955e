"""Ollama's native /api/embed: OpenAI's embeddings requests turned into its bodies. Pure: no I/O.

Source of the shapes: Ollama's api/types.go (EmbedRequest) and docs/api.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from shared.errors import Unsupported
from shared.models.abilities import unknown_parameter
from shared.models.parameters import EMBEDDING_FIELDS, OWN_EMBEDDING_FIELDS

if TYPE_CHECKING:
    from shared.openai.embeddings import EmbeddingsRequest


def to_embed_body(request: EmbeddingsRequest, model: str) -> bytes:
    """Return the body to send; `truncate: false` makes an input that is too long an error.

    Args:
        request: the client's.
        model: the model's name at the upstream.

    Raises:
        Unsupported: there are token ids, or a field that neither OpenAI nor Ollama names.
    """
    inputs = request.body.inputs
    if any(not isinstance(one, str) for one in inputs):
        raise Unsupported("Ollama embeds strings only: input must not hold token ids.", param="input")
    own: dict[str, Any] = {}
    for name, value in request.fields.items():
        if name in EMBEDDING_FIELDS or value is None or name == "stream":
            continue
        if name not in OWN_EMBEDDING_FIELDS["ollama"]:
            raise unknown_parameter(name)
        own[name] = value
    return msgspec.json.encode({"model": model, "input": inputs, "truncate": False, **own})
