"""An embeddings attempt's work: ask the provider for vectors, check them, encode the reply.

Only an API that is OpenAI's takes token ids and `dimensions` itself. For all others ids become text, and vectors are
cut here: servers that cut any model's (Ollama) or ignore the wish would answer with what means nothing, or is too long.
"""

from __future__ import annotations

import math
from itertools import islice
from operator import mul
from typing import TYPE_CHECKING

from shared.errors import InvalidRequest, Malformed
from shared.openai.embeddings import EmbeddingsRequest, embeddings_reply, encode_embedding, estimate_embedding_tokens
from shared.process.tasks import Pauses
from shared.types import Usage
from workers.providers.token_ids import to_texts

if TYPE_CHECKING:
    from shared.models.embedding_models import EmbeddingEntry
    from workers.providers.base import Provider


async def embed(
    provider: Provider, request: EmbeddingsRequest, model: str, known: EmbeddingEntry
) -> tuple[list[bytes], Usage | None]:
    """Return the finished body of an embeddings reply in pieces, and what the upstream reported, if it did.

    Args:
        provider: whom to ask.
        request: the client's.
        model: the upstream's name of the model.
        known: what the catalogue knows of it.

    Raises:
        CallerError: the request cannot be served by this upstream; `param` says why.
        UpstreamError: the upstream failed.
    """
    requested = request.body
    made = await provider.embed(await _translated(request, provider, known), model)
    if len(made.vectors) != len(requested.inputs) or not all(made.vectors):
        raise Malformed("The model server did not send a vector for each input.")
    cut_to = _cut_to(requested.dimensions, len(made.vectors[0]), model, known)
    tokens = estimate_embedding_tokens(requested) if made.prompt_tokens is None else made.prompt_tokens
    pause = Pauses()
    encoded = []
    for index in range(len(made.vectors)):
        vector, made.vectors[index] = made.vectors[index], []  # to free millions of numbers at once takes long
        wanted = vector if cut_to is None else _cut(vector, cut_to)
        encoded.append(encode_embedding(index, wanted, as_base64=requested.encoding_format == "base64"))
        # Thousands of vectors take long to encode: the streams of this process go on meanwhile.
        await pause()
    is_reported = made.prompt_tokens is not None or made.billed_usd is not None
    reported = Usage(prompt_tokens=tokens, completion_tokens=0, billed_usd=made.billed_usd) if is_reported else None
    return embeddings_reply(encoded, model, tokens), reported


async def _translated(request: EmbeddingsRequest, provider: Provider, known: EmbeddingEntry) -> EmbeddingsRequest:
    """Return the request as a server takes it that knows neither OpenAI's token ids nor `dimensions`."""
    requested = request.body
    has_ids = not all(isinstance(one, str) for one in requested.inputs)
    if provider.embeds_as_openai or not (has_ids or requested.dimensions is not None):
        return request
    if known.vocabulary == "own":
        return request.for_inputs(requested.inputs)
    return request.for_inputs(await to_texts(requested.inputs, known.vocabulary, is_nested=requested.is_nested))


def _cut_to(wanted: int | None, size: int, model: str, known: EmbeddingEntry) -> int | None:
    """Return to how many numbers vectors of this size are to be cut; None where they stay as they are.

    Raises:
        InvalidRequest: they cannot have the size that is wanted.
    """
    if wanted is None or wanted == size:
        return None
    least = known.min_dimensions
    if least is not None and least <= wanted < size:
        return wanted
    sizes = f"of {size} dimensions only" if least is None else f"of {least} to {size} dimensions"
    raise InvalidRequest(f"The model '{model}' makes vectors {sizes}.", param="dimensions")


def _cut(vector: list[float], size: int) -> list[float]:
    """Return the first numbers of a vector, as a vector of length 1."""
    length = math.sqrt(sum(map(mul, islice(vector, size), vector)))
    return [number / length for number in islice(vector, size)] if length else vector[:size]
