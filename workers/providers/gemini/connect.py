"""How an account at the Gemini API is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.providers.gemini.provider import GeminiProvider

if TYPE_CHECKING:
    from workers.providers.base import Provider, Site


def for_account(site: Site, api_key: str) -> Provider:
    """Return a provider for one account."""
    url, connections = site.credentials.base_urls[GeminiProvider.name], site.settings.gemini_slots + 1
    return GeminiProvider(
        url, api_key, connections, site.tool_calls, fetch_image=site.fetch_image, catalogue=site.settings.catalogue
    )
