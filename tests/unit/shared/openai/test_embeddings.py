"""Embeddings requests and replies."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest

from shared.errors import InvalidRequest
from shared.openai.embeddings import decode_embeddings, embeddings_reply, encode_embedding, estimate_embedding_tokens


def body(**fields: Any) -> bytes:
    """Return a request with these fields."""
    return json.dumps({"model": "m", "input": "hello", **fields}).encode()


@pytest.mark.parametrize(
    ("given", "inputs"),
    [
        ("hello", ["hello"]),
        (["a", "b"], ["a", "b"]),
        ([1, 2, 3], [[1, 2, 3]]),
        ([[1, 2], [3]], [[1, 2], [3]]),
    ],
)
def test_every_form_of_input_is_taken(given: Any, inputs: list[Any]) -> None:
    """A string, strings, token ids, lists of token ids."""
    assert decode_embeddings(body(input=given)).inputs == inputs


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input"),
        ({"input": ["a", 1]}, "input"),
        ({"input": [[]]}, "input[0]"),
        ({"input": [1, -1]}, "input[1]"),
        ({"input": [[1], [2, -1]]}, "input[1][1]"),
        ({"input": {"a": 1}}, "input"),
        ({"input": ["a"] * 2049}, "input"),
        ({"input": "x" * 1_200_001}, "input"),
        ({"dimensions": 0}, "dimensions"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"stream": True}, "stream"),
        ({"model": None}, "model"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], param: str) -> None:
    """With status 400."""
    with pytest.raises(InvalidRequest) as raised:
        decode_embeddings(body(**fields))
    assert (raised.value.status, raised.value.param) == (400, param)


def reply(vectors: list[list[float]], *, as_base64: bool) -> bytes:
    """Return the body of a reply."""
    encoded = [encode_embedding(index, vector, as_base64=as_base64) for index, vector in enumerate(vectors)]
    return b"".join(embeddings_reply(encoded, "made-by", 7))


def test_vectors_are_floats_or_little_endian_float32_in_base64() -> None:
    """In the order of the inputs, with the model that made them."""
    vectors = [[0.5, -1.25], [1.0, 2.0]]
    plain = json.loads(reply(vectors, as_base64=False))
    assert [one["embedding"] for one in plain["data"]] == vectors
    assert (plain["model"], plain["usage"]) == ("made-by", {"prompt_tokens": 7, "total_tokens": 7})
    packed = json.loads(reply(vectors, as_base64=True))
    unpacked = [list(struct.unpack("<2f", base64.b64decode(one["embedding"]))) for one in packed["data"]]
    assert unpacked == vectors
    assert [one["index"] for one in packed["data"]] == [0, 1]


def test_tokens_are_estimated_from_characters_or_counted_from_ids() -> None:
    """A quarter of a text, never nothing."""
    assert estimate_embedding_tokens(decode_embeddings(body(input=["x" * 40, "y"]))) == 11
    assert estimate_embedding_tokens(decode_embeddings(body(input=[[1, 2], [3]]))) == 3
