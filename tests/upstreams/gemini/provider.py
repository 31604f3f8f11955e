"""The provider of Gemini's API, pointed at a scripted server."""

from __future__ import annotations

from tests.upstreams.tool_call_memory import MemoryToolCallState
from workers.providers.gemini.provider import GeminiProvider


def make(url: str) -> GeminiProvider:
    """Return the provider of a server."""
    return GeminiProvider(url, "scripted-key", 64, MemoryToolCallState())
