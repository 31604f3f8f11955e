"""Which OpenAI-compatible servers are configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.providers.base import Connection
from workers.providers.http.address import backend_name
from workers.providers.openai.paid_api import PaidApiProvider
from workers.providers.openai.provider import OpenAIProvider

if TYPE_CHECKING:
    from workers.providers.base import Site


def connect(site: Site) -> list[Connection]:
    """Return the servers on own hardware, or OpenAI. The former open no connection to where a client says."""
    return _paid(site) if site.tier == "paid" else _own(site)


def _paid(site: Site) -> list[Connection]:
    """Return OpenAI, if there is a key for it, and every further API of its kind."""
    slots, catalogue = site.settings.paid_slots, site.settings.catalogue
    connections = []
    if api_key := site.credentials.api_keys.get(OpenAIProvider.name):
        url = site.credentials.base_urls[OpenAIProvider.name]
        provider = OpenAIProvider(
            url,
            api_key,
            connections=slots + 1,
            catalogue=catalogue,
            embeds_as_openai=True,
            tool_calls=site.tool_calls,
        )
        connections.append(Connection(provider, provider.name, slots, api_key))
    for api in site.credentials.paid_apis:
        provider = PaidApiProvider(api, connections=slots + 1, catalogue=catalogue, tool_calls=site.tool_calls)
        connections.append(Connection(provider, api.name, slots, api.api_key))
    return connections


def _own(site: Site) -> list[Connection]:
    settings = site.settings
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
