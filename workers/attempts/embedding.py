"""An embeddings attempt's work: ask the provider for vectors, check them, encode the reply."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.errors import InvalidRequest, Malformed
from shared.openai.embeddings import EmbeddingsRequest, embeddings_reply, encode_embedding, estimate_embedding_tokens
from shared.process.tasks import Pauses

if TYPE_CHECKING:
    import msgspec

    from workers.providers.base import Provider


async def embed(provider: Provider, raw: msgspec.Raw, model: str) -> tuple[bytes, int, bool]:
    """Return the finished body of an embeddings reply, its token count, and whether the upstream reported that.

    Raises:
        CallerError: the request cannot be served by this upstream; `param` says why.
        UpstreamError: the upstream failed.
    """
    request = EmbeddingsRequest(raw)
    asked = request.body
    made = await provider.embed(request, model)
    if len(made.vectors) != len(asked.inputs) or not all(made.vectors):
        raise Malformed("The model server did not send a vector for each input.")
    size = len(made.vectors[0])
    if asked.dimensions is not None and size != asked.dimensions:
        raise InvalidRequest(f"The model '{model}' makes vectors of {size} dimensions only.", param="dimensions")
    tokens = estimate_embedding_tokens(asked) if made.prompt_tokens is None else made.prompt_tokens
    pause = Pauses()
    encoded = []
    for index, vector in enumerate(made.vectors):
        encoded.append(encode_embedding(index, vector, as_base64=asked.encoding_format == "base64"))
        await pause()
    return embeddings_reply(encoded, model, tokens), tokens, made.prompt_tokens is not None
