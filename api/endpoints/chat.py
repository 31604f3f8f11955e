"""POST /v1/chat/completions."""

from __future__ import annotations

import msgspec
from quart import Blueprint, Response, current_app, g, request

from api.gateway import Gateway
from api.http.body import read_body
from api.http.sse import stream_response
from api.requests.context import Call
from shared.openai.request import decode_chat, estimate_prompt_tokens

chat_blueprint = Blueprint("chat", __name__)


@chat_blueprint.post("/v1/chat/completions")
async def create_chat_completion() -> Response:
    """OpenAI's createChatCompletion, streaming and not."""
    gateway: Gateway = current_app.extensions["claw"]
    principal = await gateway.authenticator.authenticate(request.headers)
    call = Call(gateway, principal, "chat", g.request_id)
    with call.refusals():
        raw = call.body = await read_body(request)
        body = decode_chat(raw)
        prompt_tokens = estimate_prompt_tokens(body)
        exchange = await call.begin("chat", body.model, msgspec.Raw(raw), prompt_tokens=prompt_tokens, body=body)
    if body.stream:
        return await stream_response(exchange, gateway.settings.head_wait_s)
    return Response(await exchange.read_whole(), content_type="application/json")
