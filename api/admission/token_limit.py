"""Tokens a minute of a key: how many a request reserves at its admission.

What it really used is settled when it ends (`finish.lua`): what it did not use is given back, what it used beyond is
taken, and then the key waits for that too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shared.errors import InvalidRequest, RateLimited

if TYPE_CHECKING:
    from api.routing.eligibility import RoutingRequest

GUESSED_OUTPUT: Final = 1024
"""Tokens that are reserved for a choice of an answer that the request does not bound."""
GUESSED_SHARE: Final = 10
"""... but no more of all of them than this part of the limit: it is our guess, and not the caller's wish."""


class TokensRateLimited(RateLimited):
    """The key's tokens per minute are used up, for a request of this size.

    Args:
        limit: tokens a minute.
        retry_after_s: when as many as the request reserves are there.
        remaining: how many are left now.
        reset_s: seconds until all are there again.
        requests: how many requests of the minute are left, and seconds until all are.
    """

    type = "tokens"
    code = "tokens_rate_limited"

    def __init__(
        self, limit: int, *, retry_after_s: float, remaining: int, reset_s: float, requests: tuple[int, float]
    ) -> None:
        super().__init__(
            f"Rate limit reached: {limit} tokens per minute for this key, of which {remaining} are left.",
            retry_after_s=retry_after_s,
        )
        self.remaining, self.reset_s, self.requests = remaining, reset_s, requests


def tokens_to_reserve(limit: int, wanted: RoutingRequest) -> int:
    """Return how many tokens a request reserves: its prompt, as estimated, and its answer as far as it is bounded.

    Args:
        limit: tokens a minute of its key.
        wanted: the request.

    Raises:
        InvalidRequest: it reserves more than the whole limit, so that it could never be admitted.
    """
    prompt = wanted.prompt_tokens
    if wanted.endpoint == "embeddings":
        output = 0
    elif wanted.output_tokens is None:
        guess = min(GUESSED_OUTPUT * wanted.choices, limit // GUESSED_SHARE)
        # A guess of ours refuses nobody: what is used beyond it is taken at the end.
        output = max(0, min(guess, limit - prompt))
    else:
        output = wanted.output_tokens * wanted.choices
    if prompt + output > limit:
        answer = f" and up to {output} for its answer" if output else ""
        raise InvalidRequest(
            f"This request is larger than the limit of its key: about {prompt} tokens of prompt{answer}, of "
            f"{limit} tokens per minute.",
            code="request_exceeds_tokens_per_minute",
        )
    return prompt + output
