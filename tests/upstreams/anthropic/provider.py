"""The provider of Anthropic's API, pointed at a scripted server."""

from __future__ import annotations

from workers.providers.anthropic.provider import AnthropicProvider


def make(url: str) -> AnthropicProvider:
    """Return the provider of a server."""
    return AnthropicProvider(url, api_key="sk-ant-scripted")
