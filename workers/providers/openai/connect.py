"""Providers of the OpenAI-compatible servers that are configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.providers.base import ConfiguredProvider
from workers.providers.http.address import backend_name
from workers.providers.openai.paid_api import PaidApiProvider
from workers.providers.openai.provider import OpenAIProvider

if TYPE_CHECKING:
    from workers.providers.base import ProviderContext


def connect(context: ProviderContext) -> list[ConfiguredProvider]:
    """Return the servers on own hardware, or OpenAI. The former open no connection to where a client says."""
    return _paid(context) if context.tier == "paid" else _own(context)


def _paid(context: ProviderContext) -> list[ConfiguredProvider]:
    """Return OpenAI, if there is a key for it, and every further API of its kind."""
    slots, catalogue = context.settings.paid_slots, context.settings.catalogue
    configured = []
    if api_key := context.credentials.api_keys.get(OpenAIProvider.name):
        url = context.credentials.base_urls[OpenAIProvider.name]
        provider = OpenAIProvider(
            url,
            api_key,
            connections=slots + 1,
            catalogue=catalogue,
            embeds_as_openai=True,
            tool_calls=context.tool_calls,
        )
        configured.append(ConfiguredProvider(provider, provider.name, slots, api_key))
    for api in context.credentials.paid_apis:
        provider = PaidApiProvider(api, connections=slots + 1, catalogue=catalogue, tool_calls=context.tool_calls)
        configured.append(ConfiguredProvider(provider, api.name, slots, api.api_key))
    return configured


def _own(context: ProviderContext) -> list[ConfiguredProvider]:
    settings = context.settings
    configured = []
    if settings.local_openai_url:
        url, slots, api_key = settings.local_openai_url, settings.local_openai_slots, settings.local_openai_api_key
        provider = OpenAIProvider(url, api_key, connections=slots + 1, fetch_image=context.fetch_image)
        configured.append(ConfiguredProvider(provider, backend_name(url), slots, api_key))
    if settings.local_embeddings_url:
        # A server may do both by one URL: its two backends need two queues.
        url, slots = settings.local_embeddings_url, settings.local_embeddings_slots
        provider = OpenAIProvider(url, connections=slots + 1)
        configured.append(ConfiguredProvider(provider, f"embeddings:{backend_name(url)}", slots))
    return configured
