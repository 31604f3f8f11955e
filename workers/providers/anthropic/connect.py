"""Whether Anthropic is configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.providers.anthropic.provider import AnthropicProvider
from workers.providers.base import Connection

if TYPE_CHECKING:
    from workers.providers.base import Site


def connect(site: Site) -> list[Connection]:
    """Return Anthropic, if there is a key for it."""
    name, slots = AnthropicProvider.name, site.settings.paid_slots
    api_key = site.credentials.api_keys.get(name)
    if not api_key:
        return []
    provider = AnthropicProvider(site.credentials.base_urls[name], api_key, slots + 1, site.tool_calls)
    return [Connection(provider, name, slots, api_key)]
