"""POST /v1/chat/completions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.endpoints.answer import answered_by_model
from api.requests.checked_body import CheckedBody

if TYPE_CHECKING:
    from quart import Response


async def create_chat_completion() -> Response:
    """Serve OpenAI's createChatCompletion, streaming and not."""
    return await answered_by_model("chat", CheckedBody.of_chat)
