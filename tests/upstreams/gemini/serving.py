"""The `gemini` provider, pointed at a scripted upstream, for the tests of what is particular to it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.upstreams.outcome import HELLO, chat
from tests.upstreams.scripted import ScriptedUpstream
from tests.upstreams.tool_call_memory import MemoryToolCallState
from workers.providers.gemini.provider import GeminiProvider
from workers.providers.tool_call_state import ToolCallState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.types import Event

MODEL = "gemini-3.8-flash"


@asynccontextmanager
async def gemini_serving(
    signatures: ToolCallState | None = None, fetch_image: Any = None
) -> AsyncIterator[tuple[ScriptedUpstream, GeminiProvider]]:
    """Yield a scripted upstream and a provider that is pointed at it."""
    async with ScriptedUpstream() as upstream:
        provider = GeminiProvider(
            upstream.url, "AIza-secret", 8, signatures or MemoryToolCallState(), fetch_image=fetch_image
        )
        try:
            yield upstream, provider
        finally:
            await provider.close()


async def events_of(provider: GeminiProvider, body: dict[str, Any] | None = None, model: str = MODEL) -> list[Event]:
    """Return every event of one completion."""
    events: list[Event] = []
    async with provider.stream(chat(body), model) as batches:
        async for batch in batches:
            events.extend(batch)
    return events


def asking_for_images(*urls: str) -> dict[str, Any]:
    """Return a request with an image for each URL."""
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {**HELLO, "messages": [{"role": "user", "content": parts}]}
