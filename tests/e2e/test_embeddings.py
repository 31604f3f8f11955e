"""Embeddings by the official client, on the real embedded model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from openai import BadRequestError, NotFoundError

if TYPE_CHECKING:
    from openai import OpenAI

MODEL = "multilingual-e5-small-q4"


def likeness(one: list[float], other: list[float]) -> float:
    """Return the cosine of two vectors."""
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))


def test_vectors_mean_something(client: OpenAI) -> None:
    """A question is nearer to its answer than to something else; the client asks for base64 by itself."""
    made = client.embeddings.create(
        model=MODEL,
        input=[
            "How do I bake bread?",
            "Knead the dough, let it rise, and put it into the oven.",
            "The GPU has 24 GiB.",
        ],
    )
    question, answer, other = (one.embedding for one in made.data)
    assert len(question) == 384
    assert likeness(question, answer) > likeness(question, other)
    assert made.model == MODEL
    assert made.usage.prompt_tokens == made.usage.total_tokens > 10


def test_floats_and_base64_are_the_same_vectors(client: OpenAI) -> None:
    """Up to the precision of a float32."""
    plain = client.embeddings.create(model=MODEL, input="hello", encoding_format="float").data[0].embedding
    packed = client.embeddings.create(model=MODEL, input="hello").data[0].embedding
    assert packed == pytest.approx(plain, abs=1e-6)


def test_local_means_the_local_embedding_model(client: OpenAI) -> None:
    """As it does for chat."""
    assert client.embeddings.create(model="local", input="hello").model == MODEL


def test_the_documented_model_is_only_served_where_it_is_there(client: OpenAI) -> None:
    """Another model does not pass for it: the error says what it needs, and what works instead."""
    with pytest.raises(BadRequestError) as raised:
        client.embeddings.create(model="nomic-embed-text", input="hello")
    assert raised.value.code == "model_not_configured"
    assert "OPENAI_API_KEY" in raised.value.message
    assert f"'local' works here: it is {MODEL}" in raised.value.message


def test_token_ids_are_the_text_that_they_stand_for(client: OpenAI) -> None:
    """LangChain sends them by default, of the vocabulary cl100k: `hello world` is 15339, 1917."""
    by_text, by_ids, by_nested = (
        client.embeddings.create(model=MODEL, input=given).data[0].embedding
        for given in ("hello world", [15339, 1917], [[15339, 1917]])
    )
    assert by_text == by_ids == by_nested


def test_what_the_model_cannot_do_is_refused_by_name(client: OpenAI) -> None:
    """Dimensions it does not make, token ids that are none, chatting."""
    with pytest.raises(BadRequestError) as raised:
        client.embeddings.create(model=MODEL, input="hello", dimensions=100)
    assert raised.value.param == "dimensions"
    with pytest.raises(BadRequestError) as raised:
        client.embeddings.create(model=MODEL, input=[[1, 2, 300_000]])
    assert raised.value.param == "input[0][2]"
    with pytest.raises(BadRequestError) as raised:
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hello"}])
    assert raised.value.param == "model"
    with pytest.raises(NotFoundError):
        client.embeddings.create(model="no-such-model", input="hello")
