"""Ollama's provider, if one is configured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from workers.providers.base import ConfiguredProvider
from workers.providers.http.address import backend_name
from workers.providers.ollama.provider import OllamaProvider

if TYPE_CHECKING:
    from shared.settings import Settings
    from workers.providers.base import ProviderContext

DEFAULT_URL: Final = "http://127.0.0.1:11434"


def url_of(settings: Settings) -> str | None:
    """Return the URL that is named; where no local server is, that of the usual port; else None."""
    if not settings.ollama_url and settings.local_openai_url:
        return None
    return settings.ollama_url or DEFAULT_URL


def connect(context: ProviderContext) -> list[ConfiguredProvider]:
    """Return the Ollama of the local tier."""
    settings, url = context.settings, url_of(context.settings)
    if url is None:
        return []
    slots = settings.ollama_slots
    provider = OllamaProvider(
        url,
        num_ctx=settings.ollama_num_ctx,
        connections=slots + 1,
        max_num_ctx=settings.ollama_max_num_ctx,
        fetch_image=context.fetch_image,
    )
    return [ConfiguredProvider(provider, backend_name(url), slots)]
