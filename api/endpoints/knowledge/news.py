"""Changes of the knowledge base reach whoever makes its vectors."""

from __future__ import annotations

from contextlib import suppress

from api.gateway import gateway
from api.prompt.knowledge.embedder import NEWS
from shared.redis.client import UNREACHABLE
from shared.redis.names import NEWS_CHANNEL


async def announce() -> None:
    """Let every process see the change; without Redis they see it at their next look."""
    gateway().knowledge.embedder.wake()
    with suppress(*UNREACHABLE):
        await gateway().redis.publish(NEWS_CHANNEL, NEWS)
