"""CORS, so that programs in browsers can call the gateway with a key.

Source: the Fetch standard, "CORS protocol". Credentials are keys in a header, never cookies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from quart import Response

if TYPE_CHECKING:
    from werkzeug.datastructures import Headers

_METHODS: Final = "GET, POST, PUT, PATCH, DELETE, OPTIONS"
_EXPOSED: Final = (
    "x-request-id, retry-after, x-should-retry, x-nself-tier, x-nself-model, x-nself-attempts, x-nself-omitted, "
    "x-nself-session-id, x-nself-knowledge-chunks, x-nself-knowledge-search, "
    "x-nself-queue-position, x-nself-queue-eta-s, "
    "x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, "
    "x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens"
)
_PREFLIGHT_LIFE_S: Final = 600


def allowed_origin(origin: str | None, allowed: str) -> str | None:
    """Return what `access-control-allow-origin` says to `origin`; None for an origin that is not allowed.

    Args:
        origin: the request's Origin header.
        allowed: `*`, or origins separated by commas.
    """
    if origin is None:
        return None
    if allowed.strip() == "*":
        return "*"
    return origin if origin in {one.strip() for one in allowed.split(",")} else None


def preflight(headers: Headers) -> Response:
    """Return the answer to a preflight request; the headers it asks for are all fine."""
    response = Response(b"", status=204)
    response.headers["access-control-allow-methods"] = _METHODS
    # Named, since `*` does not stand for `authorization` (Fetch standard, CORS protocol).
    response.headers["access-control-allow-headers"] = headers.get("access-control-request-headers") or "*"
    response.headers["access-control-max-age"] = str(_PREFLIGHT_LIFE_S)
    return response


def allow(response: Response, origin: str) -> None:
    """Allow a browser of `origin` to read the response."""
    response.headers["access-control-allow-origin"] = origin
    response.headers["access-control-expose-headers"] = _EXPOSED
    if origin != "*":
        # A cache would give other origins an answer that names this one.
        response.headers.add("vary", "origin")
