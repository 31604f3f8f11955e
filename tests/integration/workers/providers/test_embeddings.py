"""What the providers make of embeddings requests."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared import errors
from shared.openai.embeddings import Embedded, EmbeddingsRequest, encode_embedding
from tests.upstreams.outcome import serving
from tests.upstreams.scripted import Answer, json_answer

VECTORS = [[0.5, 0.25], [1.0, 2.0]]


def asking(**fields: Any) -> EmbeddingsRequest:
    """Return a request as the worker gets it."""
    return EmbeddingsRequest(json.dumps({"model": "asked", "input": ["a", "b"], **fields}).encode())


async def test_ollama_is_asked_never_to_cut() -> None:
    """By its own API; without a count the usage is the caller's to estimate."""
    async with serving("ollama") as (upstream, provider):
        for counted in ({"prompt_eval_count": 4}, {}):
            upstream.routes["/api/embed"] = json_answer({"embeddings": VECTORS, **counted})
            made = await provider.embed(asking(), "theirs")
            assert (made.vectors, made.prompt_tokens) == (VECTORS, counted.get("prompt_eval_count"))
        assert upstream.route_requests[0].body == {
            "model": "theirs", "input": ["a", "b"], "truncate": False,
        }  # fmt: skip


async def test_ollama_embeds_no_token_ids() -> None:
    """Another kind of server may."""
    async with serving("ollama") as (_, provider):
        with pytest.raises(errors.Unsupported) as caught:
            await provider.embed(asking(input=[[1, 2]]), "theirs")
    assert caught.value.param == "input"


async def test_an_openai_compatible_server_is_asked_for_floats() -> None:
    """Whatever the client wants; the vectors are in the order of the inputs."""
    data = [{"index": 1, "embedding": VECTORS[1]}, {"index": 0, "embedding": VECTORS[0]}]
    async with serving("openai") as (upstream, provider):
        upstream.routes["/v1/embeddings"] = json_answer({"data": data, "usage": {"prompt_tokens": 4}})
        made = await provider.embed(asking(encoding_format="base64", user="u"), "theirs")
        assert upstream.route_requests[0].body == {
            "model": "theirs", "input": ["a", "b"], "encoding_format": "float", "user": "u",
        }  # fmt: skip
    assert (made.vectors, made.prompt_tokens) == (VECTORS, 4)


async def test_a_vector_in_base64_and_a_bill_are_read() -> None:
    """Some servers send that whatever they are asked for, and routers say what they bill."""
    encoded = [json.loads(encode_embedding(0, vector, as_base64=True))["embedding"] for vector in VECTORS]
    data = [{"embedding": text, "index": index} for index, text in enumerate(encoded)]
    usage = {"prompt_tokens": "4", "total_tokens": 4, "cost": 0.25}
    async with serving("openai") as (upstream, provider):
        upstream.routes["/v1/embeddings"] = json_answer({"data": data, "usage": usage})
        made = await provider.embed(asking(), "theirs")
        assert (made.vectors, made.prompt_tokens, made.billed_usd) == (VECTORS, 4, 0.25)
        upstream.routes["/v1/embeddings"] = json_answer({"data": [{"embedding": "no vector"}], "usage": 7})
        assert await provider.embed(asking(), "theirs") == Embedded([[]], None)


@pytest.mark.parametrize("wire", ["openai", "ollama"])
async def test_a_vector_in_a_list_of_its_own_is_that_vector(wire: str) -> None:
    """llama.cpp's server sends one so that does not pool."""
    nested = [[vector] for vector in VECTORS]
    async with serving(wire) as (upstream, provider):
        upstream.routes["/v1/embeddings"] = json_answer({"data": [{"embedding": one} for one in nested]})
        upstream.routes["/api/embed"] = json_answer({"embeddings": nested})
        assert (await provider.embed(asking(), "theirs")).vectors == VECTORS


@pytest.mark.parametrize("wire", ["openai", "ollama"])
@pytest.mark.parametrize("number", ["null", "NaN", "1e999", "[1.0]", '"x"', "{}"])
async def test_a_vector_with_what_is_no_number_is_none(wire: str, number: str) -> None:
    """Its numbers would be in the places of others: nobody would see that all searches go wrong."""
    vectors = b"[[0.5, %b, 0.25], [1.0, 2.0, 3.0]]" % number.encode()
    async with serving(wire) as (upstream, provider):
        data = b",".join(b'{"embedding": %b}' % one for one in (b"[0.5, %b, 0.25]" % number.encode(), b"[1, 2, 3]"))
        upstream.routes["/v1/embeddings"] = Answer([b'{"data": [%b]}' % data])
        upstream.routes["/api/embed"] = Answer([b'{"embeddings": %b}' % vectors])
        assert (await provider.embed(asking(), "theirs")).vectors == [[], [1.0, 2.0, 3.0]]


@pytest.mark.parametrize("wire", ["gemini", "anthropic"])
async def test_the_gateway_makes_no_embeddings_elsewhere(wire: str) -> None:
    """The caller has the wrong endpoint, for good; nothing is asked of the API."""
    async with serving(wire) as (upstream, provider):
        with pytest.raises(errors.InvalidRequest) as caught:
            await provider.embed(asking(), "gemini-embedding-001")
        assert not upstream.requests
    assert (caught.value.code, caught.value.param, caught.value.fails_over) == ("wrong_endpoint", "model", False)
