"""POST /v1/embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.endpoints.answer import answered_by_model
from api.requests.context import CheckedBody
from shared.openai.embeddings import decode_embeddings, estimate_embedding_tokens

if TYPE_CHECKING:
    from quart import Response


async def create_embedding() -> Response:
    """Serve OpenAI's createEmbedding."""
    return await answered_by_model("embeddings", _checked)


def _checked(raw: bytes) -> CheckedBody:
    body = decode_embeddings(raw)
    return CheckedBody(body.model, estimate_embedding_tokens(body))
