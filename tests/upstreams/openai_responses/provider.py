"""The provider of OpenAI's API, pointed at a scripted server whose every model is asked over the Responses API."""

from __future__ import annotations

from typing import Final

from shared.models.catalogue import Catalogue, ModelEntry
from tests.upstreams.tool_call_memory import MemoryToolCallState
from workers.providers.openai.provider import OpenAIProvider

CATALOGUE: Final = Catalogue(models={"scripted": ModelEntry(prompt_usd=1.0, completion_usd=2.0, responses="always")})


def make(url: str) -> OpenAIProvider:
    """Return the provider of a server."""
    return OpenAIProvider(
        f"{url}/v1",
        api_key="sk-scripted",
        catalogue=CATALOGUE,
        embeds_as_openai=True,
        tool_calls=MemoryToolCallState(),
    )
