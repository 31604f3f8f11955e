"""POST /v1/responses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.endpoints.answer import answered_by_model
from api.requests.checked_body import CheckedBody

if TYPE_CHECKING:
    from quart import Response


async def create_response() -> Response:
    """Serve OpenAI's createResponse, streaming and not."""
    return await answered_by_model("chat", CheckedBody.of_responses, dialect="responses")
