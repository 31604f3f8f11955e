"""An upstream's own words about a failure: for the operator, where errors for clients say what follows for them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import aiohttp
import httpx

from shared.errors import MOST_REASON_CHARS, shortened
from shared.process.log import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable

# aiohttp's own errors come through where httpx-aiohttp has no name for them (a reply that is not HTTP).
NETWORK_ERRORS: Final = (httpx.HTTPError, aiohttp.ClientError, OSError)
_MASK: Final = "***"
_SECRET: Final = re.compile(
    r"""(?ix)
    \b bearer \s+ \S+
    | \b (?: api[_-]?key | key | token | secret | password ) ["']? \s* [:=] \s* ["']? [^\s"',;&]{8,}
    | \b (?: sk | pk | gsk | hf | xai | key ) [_-] [\w-]{12,}
    | \b AIza [\w-]{20,}
    | (?<= ://) [^\s/@]+ @
    """
)
"""Keys of the usual forms, and passwords in addresses: an upstream may quote ones that we never knew."""


def masked(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text of an upstream as it may stand in a log: on one line, bounded, without what looks like a secret.

    Args:
        text: of any length.
        secrets: those that are known, which are masked whatever they look like.
    """
    # The longest first: one may be a part of another.
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, _MASK)
    return shortened(escaped(" ".join(_SECRET.sub(_MASK, text).split())), MOST_REASON_CHARS)


def reason_of(error: BaseException) -> str:
    """Return what the upstream, or the network on the way to it, said of a failure; empty where nothing is known.

    An error says it itself, or one of those that led to it does: what a provider raises in the place of a rejection
    need not pass it on.
    """
    link: BaseException | None = error
    network = ""
    while link is not None:
        if reason := getattr(link, "reason", ""):
            return str(reason)
        if isinstance(link, NETWORK_ERRORS) and str(link):
            network = network or masked(str(link))
        link = link.__cause__ or link.__context__
    return network
