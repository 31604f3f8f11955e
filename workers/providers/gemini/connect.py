"""Gemini's provider for an account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.providers.gemini.provider import GeminiProvider

if TYPE_CHECKING:
    from workers.providers.base import Provider, ProviderContext


def for_account(context: ProviderContext, api_key: str) -> Provider:
    """Return a provider for one account."""
    url, connections = context.credentials.base_urls[GeminiProvider.name], context.settings.gemini_slots + 1
    return GeminiProvider(
        url,
        api_key,
        connections,
        context.tool_calls,
        fetch_image=context.fetch_image,
        catalogue=context.settings.catalogue,
    )
