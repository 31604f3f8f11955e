"""How many tokens a request reserves of its key's minute."""

from __future__ import annotations

from typing import Any

import pytest

from api.admission.token_limit import tokens_to_reserve
from api.routing.eligibility import RoutingRequest
from shared.errors import InvalidRequest


def wanted(prompt_tokens: int, **fields: Any) -> RoutingRequest:
    """Return a chat with a prompt of so many tokens."""
    return RoutingRequest(**{"model": "auto", "endpoint": "chat", "prompt_tokens": prompt_tokens, **fields})


@pytest.mark.parametrize(
    ("limit", "request_", "reserved"),
    [
        (1000, wanted(100, output_tokens=300), 400),
        (1000, wanted(100, output_tokens=300, choices=3), 1000),
        (1000, wanted(100), 200),
        (1000, wanted(950), 1000),
        (1000, wanted(1000), 1000),
        (100_000, wanted(100), 1124),
        (100_000, wanted(100, choices=2), 2148),
        (1000, wanted(100, output_tokens=0), 100),
        (1000, wanted(100, endpoint="embeddings"), 100),
    ],
)
def test_prompt_and_answer_are_reserved(limit: int, request_: RoutingRequest, reserved: int) -> None:
    """An answer that the request does not bound is guessed, and a guess makes no request too large."""
    assert tokens_to_reserve(limit, request_) == reserved


@pytest.mark.parametrize(
    "request_",
    [wanted(701, output_tokens=300), wanted(1001), wanted(1001, endpoint="embeddings"), wanted(1, output_tokens=10**9)],
)
def test_more_than_the_limit_can_never_be_admitted(request_: RoutingRequest) -> None:
    """The error names the limit, and what the request asks for."""
    with pytest.raises(InvalidRequest, match=r"about \d+ tokens of prompt.* of 1000 tokens per minute") as refused:
        tokens_to_reserve(1000, request_)

    assert (refused.value.status, refused.value.code) == (400, "request_exceeds_tokens_per_minute")
