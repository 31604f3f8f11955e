"""Adapters to upstream APIs. See base.py for the protocol they share."""

from __future__ import annotations

from workers.providers.anthropic.provider import AnthropicProvider
from workers.providers.gemini.provider import GeminiProvider
from workers.providers.ollama.provider import OllamaProvider
from workers.providers.openai.provider import OpenAIProvider

PROVIDERS: dict[str, type[OpenAIProvider | OllamaProvider | GeminiProvider | AnthropicProvider]] = {
    OpenAIProvider.name: OpenAIProvider,
    OllamaProvider.name: OllamaProvider,
    GeminiProvider.name: GeminiProvider,
    AnthropicProvider.name: AnthropicProvider,
}
"""Every provider by its name. They are built with different arguments: see their classes."""
