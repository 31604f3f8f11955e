"""POST /v1/embeddings."""

from __future__ import annotations

import msgspec
from quart import Response, request

from api.endpoints.call import authenticated_call
from api.http.body import read_body
from shared.openai.embeddings import decode_embeddings, estimate_embedding_tokens


async def create_embedding() -> Response:
    """Serve OpenAI's createEmbedding."""
    call = await authenticated_call("embeddings")
    with call.refusals():
        raw = call.body = await read_body(request)
        body = decode_embeddings(raw)
        prompt_tokens = estimate_embedding_tokens(body)
        exchange = await call.begin("embeddings", body.model, msgspec.Raw(raw), prompt_tokens=prompt_tokens)
    return Response(await exchange.read_whole(), content_type="application/json")
