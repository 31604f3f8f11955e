"""The headers of our own: what is left of a key's minute, and who served a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.requests.open_requests import QueuePlace
    from shared.types import Target

PRIORITY_HEADER: Final = "x-nself-priority"
OMITTED_HEADER: Final = "x-nself-omitted"
MAX_WAIT_HEADER: Final = "x-nself-max-wait-s"
TIER_HEADER: Final = "x-nself-tier"
"""Of a request: the only tier that may serve it; of a reply: the one that did."""


def rate_limit_headers(limit: int, remaining: int, reset_s: float) -> dict[str, str]:
    """Return OpenAI's headers about a limit of requests a minute.

    Args:
        limit: requests a minute.
        remaining: how many are left.
        reset_s: seconds until all are, or until one is where none is left.
    """
    return {
        "x-ratelimit-limit-requests": str(limit),
        "x-ratelimit-remaining-requests": str(remaining),
        "x-ratelimit-reset-requests": f"{reset_s:.3f}s",
    }


def token_limit_headers(limit: int, remaining: int, reset_s: float) -> dict[str, str]:
    """Return OpenAI's headers about a limit of tokens a minute.

    Args:
        limit: tokens a minute.
        remaining: how many are left.
        reset_s: seconds until all are.
    """
    return {
        "x-ratelimit-limit-tokens": str(limit),
        "x-ratelimit-remaining-tokens": str(remaining),
        "x-ratelimit-reset-tokens": f"{reset_s:.3f}s",
    }


def route_headers(target: Target, attempts: int, omitted: Sequence[str] = ()) -> dict[str, str]:
    """Return the headers that name who served a request, at which attempt, and without which of its parameters."""
    # Names are the server's own, and a header holds ASCII.
    model = target.model if target.model.isascii() and target.model.isprintable() else quote(target.model)
    headers = {TIER_HEADER: target.tier, "x-nself-model": model, "x-nself-attempts": str(attempts)}
    return headers | ({OMITTED_HEADER: ", ".join(omitted)} if omitted else {})


def place_headers(place: QueuePlace) -> dict[str, str]:
    """Return the headers that say how long a request will wait that had its head before its turn."""
    headers = {"x-nself-queue-position": str(place.position)}
    return headers if place.eta_s is None else headers | {"x-nself-queue-eta-s": str(place.eta_s)}
