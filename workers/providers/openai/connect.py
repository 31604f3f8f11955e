"""Which OpenAI-compatible servers are configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.providers.base import Connection
from workers.providers.http.address import backend_name
from workers.providers.openai.provider import OpenAIProvider

if TYPE_CHECKING:
    from workers.providers.base import Site


def connect(site: Site) -> list[Connection]:
    """Return the servers on own hardware, or OpenAI. The former open no connection to where a client says."""
    settings = site.settings
    if site.tier == "paid":
        api_key, slots = site.credentials.api_keys.get(OpenAIProvider.name), settings.paid_slots
        if not api_key:
            return []
        url = site.credentials.base_urls[OpenAIProvider.name]
        provider = OpenAIProvider(
            url, api_key, connections=slots + 1, catalogue=settings.catalogue, embeds_as_openai=True
        )
        return [Connection(provider, OpenAIProvider.name, slots, api_key)]
    connections = []
    if settings.local_openai_url:
        url, slots, api_key = settings.local_openai_url, settings.local_openai_slots, settings.local_openai_api_key
        provider = OpenAIProvider(url, api_key, connections=slots + 1, fetch_image=site.fetch_image)
        connections.append(Connection(provider, backend_name(url), slots, api_key))
    if settings.local_embeddings_url:
        # A server may do both by one URL: its two backends need two queues.
        url, slots = settings.local_embeddings_url, settings.local_embeddings_slots
        provider = OpenAIProvider(url, connections=slots + 1)
        connections.append(Connection(provider, f"embeddings:{backend_name(url)}", slots))
    return connections
