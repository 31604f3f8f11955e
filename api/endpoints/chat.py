"""POST /v1/chat/completions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.endpoints.answer import answered_by_model
from api.requests.context import CheckedBody
from shared.openai.prompt_size import estimate_prompt_tokens
from shared.openai.request import decode_chat

if TYPE_CHECKING:
    from quart import Response


async def create_chat_completion() -> Response:
    """Serve OpenAI's createChatCompletion, streaming and not."""
    return await answered_by_model("chat", _checked)


def _checked(raw: bytes) -> CheckedBody:
    body = decode_chat(raw)
    return CheckedBody(body.model, estimate_prompt_tokens(body), body)
