"""The provider of an Ollama's cloud models, if they are offered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.providers.base import ConfiguredProvider
from workers.providers.http.address import backend_name
from workers.providers.ollama.cloud.provider import OllamaCloudProvider
from workers.providers.ollama.connect import url_of

if TYPE_CHECKING:
    from workers.providers.base import ProviderContext


def connect(context: ProviderContext) -> list[ConfiguredProvider]:
    """Return the Ollama of the local tier once more, for the paid tier: its workers alone can reach it."""
    settings, url = context.settings, url_of(context.settings)
    if context.tier != "local" or not settings.ollama_cloud or url is None:
        return []
    slots = settings.ollama_slots
    provider = OllamaCloudProvider(
        url,
        num_ctx=settings.ollama_num_ctx,
        connections=slots + 1,
        max_num_ctx=settings.ollama_max_num_ctx,
        fetch_image=context.fetch_image,
    )
    return [ConfiguredProvider(provider, f"{OllamaCloudProvider.name}:{backend_name(url)}", slots, tier="paid")]
