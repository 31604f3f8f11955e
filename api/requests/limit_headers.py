"""Headers of a response about the limits of its key: how many requests and tokens of the minute are left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.admission.token_limit import TokensRateLimited
from api.http.headers import rate_limit_headers, token_limit_headers

if TYPE_CHECKING:
    from api.admission.admit import Admitted
    from api.admission.auth import Principal
    from shared.errors import RateLimited


def admitted_headers(principal: Principal, admitted: Admitted) -> dict[str, str]:
    """Return the headers of a request that was admitted."""
    headers: dict[str, str] = {}
    if principal.rpm_limit:
        headers = rate_limit_headers(principal.rpm_limit, admitted.remaining, admitted.reset_s)
    if principal.tokens_per_minute:
        headers |= token_limit_headers(principal.tokens_per_minute, admitted.remaining_tokens, admitted.tokens_reset_s)
    return headers


def refused_headers(principal: Principal, error: RateLimited) -> dict[str, str]:
    """Return the headers of a request that was refused for a limit."""
    if isinstance(error, TokensRateLimited):
        tokens = token_limit_headers(principal.tokens_per_minute, error.remaining, error.reset_s)
        return rate_limit_headers(principal.rpm_limit, *error.requests) | tokens
    return rate_limit_headers(principal.rpm_limit, 0, error.retry_after_s or 0.0)
