"""POST /v1/embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.endpoints.answer import answered_by_model
from api.requests.checked_body import CheckedBody
from shared.openai.embeddings import MOST_VALUES

if TYPE_CHECKING:
    from quart import Response


async def create_embedding() -> Response:
    """Serve OpenAI's createEmbedding."""
    return await answered_by_model("embeddings", CheckedBody.of_embeddings, MOST_VALUES)
