"""Anthropic's provider, if it is configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.providers.anthropic.provider import AnthropicProvider
from workers.providers.base import ConfiguredProvider

if TYPE_CHECKING:
    from workers.providers.base import ProviderContext


def connect(context: ProviderContext) -> list[ConfiguredProvider]:
    """Return Anthropic, if there is a key for it."""
    name, slots = AnthropicProvider.name, context.settings.paid_slots
    api_key = context.credentials.api_keys.get(name)
    if not api_key:
        return []
    provider = AnthropicProvider(context.credentials.base_urls[name], api_key, slots + 1, context.tool_calls)
    return [ConfiguredProvider(provider, name, slots, api_key)]
