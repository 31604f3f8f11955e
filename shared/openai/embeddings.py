"""OpenAI's embeddings wire format: requests, checked, and replies. Pure: no I/O.

Source of the shapes: OpenAI's OpenAPI document, schemas CreateEmbeddingRequest and CreateEmbeddingResponse.
"""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from shared.errors import InvalidRequest
from shared.openai.decoding import decoded
from shared.openai.prompt_size import CHARS_PER_TOKEN
from shared.types import ModelName

MOST_INPUTS = 2048
MOST_TOKENS = 300_000
"""OpenAI's bound for all inputs of a request."""
MOST_CHARS = MOST_TOKENS * CHARS_PER_TOKEN
MOST_VALUES = MOST_TOKENS + 2 * MOST_INPUTS
"""Of a body (`shared/process/json_values.py`): as many token ids, their lists, and a few fields."""

TokenId = Annotated[int, Meta(ge=0)]
Tokens = Annotated[list[TokenId], Meta(min_length=1)]


class EmbeddingsBody(Struct, kw_only=True):
    """The body of POST /v1/embeddings, as far as OpenAI names its fields."""

    model: ModelName
    input: str | Annotated[list[str | TokenId | Tokens], Meta(min_length=1, max_length=MOST_INPUTS)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1)] | None = None
    user: str | None = None
    stream: bool | None = None

    @property
    def is_nested(self) -> bool:
        """Return whether inputs of token ids are lists in a list."""
        return isinstance(self.input, list) and isinstance(self.input[0], list)

    @property
    def inputs(self) -> list[str | list[int]]:
        """Return one entry for each vector that is wanted."""
        if isinstance(self.input, str):
            return [self.input]
        token_ids = [one for one in self.input if isinstance(one, int)]
        return [token_ids] if token_ids else [one for one in self.input if not isinstance(one, int)]


class EmbeddingsRequest:
    """An embeddings request in both of its forms: the client's own bytes, and the fields we know."""

    def __init__(self, raw: bytes | msgspec.Raw) -> None:
        self.raw = raw

    @cached_property
    def body(self) -> EmbeddingsBody:
        """Return the fields that OpenAI names.

        Raises:
            InvalidRequest: the body is not an embeddings request; `param` names the field.
        """
        return decode_embeddings(self.raw)

    @cached_property
    def fields(self) -> dict[str, Any]:
        """Return every field as the client sent it, also those that OpenAI does not name."""
        fields: dict[str, Any] = msgspec.json.decode(self.raw)
        return fields

    def for_inputs(self, inputs: Sequence[str | list[int]]) -> EmbeddingsRequest:
        """Return the same request with these inputs, for vectors as long as the model makes them."""
        # Cut to size afterwards, as not every server can.
        fields = {name: value for name, value in self.fields.items() if name != "dimensions"}
        return EmbeddingsRequest(msgspec.json.encode({**fields, "input": inputs}))


class Embedded(Struct, frozen=True):
    """The vectors that a model made, one for each input, and the tokens it counted (None: it did not).

    `billed_usd` is the upstream's own bill, where it has one.
    """

    vectors: list[list[float]]
    prompt_tokens: int | None
    billed_usd: float | None = None


def decode_embeddings(raw: bytes | msgspec.Raw) -> EmbeddingsBody:
    """Return the body of an embeddings request, checked.

    Raises:
        InvalidRequest: it is not JSON, or a field is wrong; `param` names the field.
    """
    body = decoded(EmbeddingsBody, raw)
    if body.stream:
        raise InvalidRequest("stream is not possible for embeddings.", param="stream")
    if isinstance(body.input, list):
        _check_list(body.input)
    texts = [text for text in body.inputs if isinstance(text, str)]
    if "" in texts:
        raise InvalidRequest("input must not be an empty string.", param="input")
    if sum(map(len, texts)) > MOST_CHARS:
        raise InvalidRequest("input is larger than 300,000 tokens in all.", param="input")
    return body


def _check_list(inputs: list[Any]) -> None:
    kind = type(inputs[0])
    if any(type(one) is not kind for one in inputs):
        raise InvalidRequest("input must be all strings, all token ids or all lists of token ids.", param="input")


def estimate_embedding_tokens(body: EmbeddingsBody) -> int:
    """Estimate the tokens of the inputs: a quarter of the characters, or the token ids that were given."""
    return sum(max(1, len(one) // CHARS_PER_TOKEN) if isinstance(one, str) else len(one) for one in body.inputs)


def encode_embedding(index: int, vector: list[float], *, as_base64: bool) -> bytes:
    """Encode one vector as it stands in the body.

    Args:
        index: of its input.
        vector: its numbers.
        as_base64: give it as little-endian float32 in base64, as OpenAI's clients ask for.
    """
    shown = _base64(vector) if as_base64 else vector
    return msgspec.json.encode({"object": "embedding", "index": index, "embedding": shown})


def embeddings_reply(embeddings: Sequence[bytes], model: str, tokens: int) -> list[bytes]:
    """Build the finished body, a CreateEmbeddingResponse, in pieces: all of it is up to 100 MB.

    Args:
        embeddings: one for each input, in their order, as `encode_embedding` makes them.
        model: the model that made them.
        tokens: of all inputs.
    """
    rest = msgspec.json.encode({"model": model, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}})
    separated = [piece for embedding in embeddings for piece in (b",", embedding)]
    return [b'{"object":"list","data":[', *separated[1:], b"],", rest[1:]]


def _base64(vector: list[float]) -> str:
    packed = array("f", vector)
    if sys.byteorder == "big":
        packed.byteswap()
    return base64.b64encode(packed.tobytes()).decode()


def from_base64(text: str) -> list[float]:
    """Return the numbers of a vector that is little-endian float32 in base64; none for what is no such text."""
    try:
        packed = array("f", base64.b64decode(text, validate=True))
    except ValueError:
        return []
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tolist()
