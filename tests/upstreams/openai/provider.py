"""The provider of OpenAI's API, pointed at a scripted server."""

from __future__ import annotations

from workers.providers.openai.provider import OpenAIProvider


def make(url: str) -> OpenAIProvider:
    """Return the provider of a server."""
    return OpenAIProvider(f"{url}/v1", api_key="sk-scripted")
