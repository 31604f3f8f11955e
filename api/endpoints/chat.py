"""POST /v1/chat/completions."""

from __future__ import annotations

import msgspec
from quart import Response, request

from api.endpoints.call import authenticated_call
from api.gateway import gateway
from api.http.body import read_body
from api.http.sse import stream_response
from shared.openai.request import decode_chat, estimate_prompt_tokens


async def create_chat_completion() -> Response:
    """Serve OpenAI's createChatCompletion, streaming and not."""
    call = await authenticated_call("chat")
    with call.refusals():
        raw = call.body = await read_body(request)
        body = decode_chat(raw)
        prompt_tokens = estimate_prompt_tokens(body)
        exchange = await call.begin("chat", body.model, msgspec.Raw(raw), prompt_tokens=prompt_tokens, body=body)
    if body.stream:
        return await stream_response(exchange, gateway().settings.head_wait_s)
    return Response(await exchange.read_whole(), content_type="application/json")
