"""The provider of Ollama's API, pointed at a scripted server."""

from __future__ import annotations

from typing import Final

from workers.providers.ollama.provider import OllamaProvider

NUM_CTX: Final = 4096


def make(url: str) -> OllamaProvider:
    """Return the provider of a server."""
    return OllamaProvider(url, num_ctx=NUM_CTX)
