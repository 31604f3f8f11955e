"""POST /v1/embeddings."""

from __future__ import annotations

import msgspec
from quart import Blueprint, Response, current_app, g, request

from api.gateway import Gateway
from api.http.body import read_body
from api.requests.context import Call
from shared.openai.embeddings import decode_embeddings, estimate_embedding_tokens

embeddings_blueprint = Blueprint("embeddings", __name__)


@embeddings_blueprint.post("/v1/embeddings")
async def create_embedding() -> Response:
    """OpenAI's createEmbedding."""
    gateway: Gateway = current_app.extensions["claw"]
    principal = await gateway.authenticator.authenticate(request.headers)
    call = Call(gateway, principal, "embeddings", g.request_id)
    with call.refusals():
        raw = call.body = await read_body(request)
        body = decode_embeddings(raw)
        prompt_tokens = estimate_embedding_tokens(body)
        exchange = await call.begin("embeddings", body.model, msgspec.Raw(raw), prompt_tokens=prompt_tokens)
    return Response(await exchange.read_whole(), content_type="application/json")
