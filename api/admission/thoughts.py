"""The size of Claude's earlier thinking that goes out again with a request: it is billed with the prompt."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from api.admission.admit import ADMIT_TIMEOUT_S, QueueUnavailable
from shared.openai.prompt_size import MOST_CONTEXT
from shared.redis.client import UNREACHABLE
from shared.redis.names import tool_call_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

MOST_TURNS: Final = 500
"""Turns with calls whose thinking is looked up; with more a context is taken to be full."""


async def earlier_thoughts(redis: Redis, ids: Sequence[str]) -> int:
    """Return how many tokens of kept thinking a request can get back at the most: no token is less than a byte.

    Args:
        redis: where it is kept.
        ids: of the first call of each turn that has calls.

    Raises:
        QueueUnavailable: Redis does not answer.
    """
    if not ids or len(ids) > MOST_TURNS:
        return MOST_CONTEXT if ids else 0
    pipeline = redis.pipeline(transaction=False)
    for call_id in ids:
        pipeline.strlen(tool_call_key(call_id))
    try:
        async with asyncio.timeout(ADMIT_TIMEOUT_S):
            return sum(await pipeline.execute())
    except UNREACHABLE:
        raise QueueUnavailable from None
