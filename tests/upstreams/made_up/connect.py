"""Whether the made-up API is configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.providers.base import Connection
from workers.providers.openai.provider import OpenAIProvider

if TYPE_CHECKING:
    from workers.providers.base import Site


class MadeUpProvider(OpenAIProvider):
    """Speaks like OpenAI."""

    name = "made-up"


def connect(site: Site) -> list[Connection]:
    """Return the API, if there is a key for it."""
    api_key = site.credentials.api_keys.get(MadeUpProvider.name)
    if not api_key:
        return []
    provider = MadeUpProvider(site.credentials.base_urls[MadeUpProvider.name], api_key)
    return [Connection(provider, MadeUpProvider.name, site.settings.paid_slots, api_key)]
