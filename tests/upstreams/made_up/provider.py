"""The provider of the made-up's API, pointed at a scripted server."""

from __future__ import annotations

from tests.upstreams.made_up.connect import MadeUpProvider


def make(url: str) -> MadeUpProvider:
    """Return the provider of a server."""
    return MadeUpProvider(f"{url}/v1", api_key="secret")
