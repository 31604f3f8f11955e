"""Whether the made-up API is configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.providers.base import ConfiguredProvider
from workers.providers.openai.provider import OpenAIProvider

if TYPE_CHECKING:
    from workers.providers.base import ProviderContext


class MadeUpProvider(OpenAIProvider):
    """Speaks like OpenAI."""

    name = "made-up"


def connect(context: ProviderContext) -> list[ConfiguredProvider]:
    """Return the API, if there is a key for it."""
    api_key = context.credentials.api_keys.get(MadeUpProvider.name)
    if not api_key:
        return []
    provider = MadeUpProvider(context.credentials.base_urls[MadeUpProvider.name], api_key)
    return [ConfiguredProvider(provider, MadeUpProvider.name, context.settings.paid_slots, api_key)]
