"""Whether the cloud models of an Ollama are offered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.providers.base import Connection
from workers.providers.http.address import backend_name
from workers.providers.ollama.cloud.provider import OllamaCloudProvider
from workers.providers.ollama.connect import url_of

if TYPE_CHECKING:
    from workers.providers.base import Site


def connect(site: Site) -> list[Connection]:
    """Return the Ollama of the local tier once more, for the paid tier: its workers alone can reach it."""
    settings, url = site.settings, url_of(site.settings)
    if site.tier != "local" or not settings.ollama_cloud or url is None:
        return []
    slots = settings.ollama_slots
    provider = OllamaCloudProvider(
        url,
        num_ctx=settings.ollama_num_ctx,
        connections=slots + 1,
        max_num_ctx=settings.ollama_max_num_ctx,
        fetch_image=site.fetch_image,
    )
    return [Connection(provider, f"{OllamaCloudProvider.name}:{backend_name(url)}", slots, tier="paid")]
