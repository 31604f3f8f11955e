"""Keeps what a model wants back with a tool call's result and OpenAI's clients know no place for, by tool-call id.

That is Gemini's thought signature (Gemini 3 rejects a function call that comes back without it: ai.google.dev,
"Thought signatures"), the thinking that Claude did before a call, and that of OpenAI's models where it came over the
Responses API. All are opaque, and only good for the model that made them.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Protocol

from shared.redis.client import UNREACHABLE
from shared.redis.names import tool_call_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis.asyncio import Redis

_log = logging.getLogger(__name__)

TTL_S: Final = 24 * 3600
MAX_ID_CHARS: Final = 256
MAX_TEXT_CHARS: Final = 256 * 1024


class ToolCallState(Protocol):
    """Texts by model and tool-call id. It never fails a request: what cannot be kept or found is left out."""

    async def get_many(self, model: str, call_ids: Sequence[str]) -> Mapping[str, str]:
        """Return what is kept of `model` for these calls; calls without anything are left out."""
        ...

    async def put_many(self, model: str, texts: Mapping[str, str]) -> None:
        """Keep the texts of `model`, by call id."""
        ...


class RedisToolCallState:
    """State that every worker shares: `claw:signature:<call id>`, each the model's name, LF, the text.

    While Redis does not answer, nothing is kept or found, and a warning is logged.

    Args:
        redis: a client whose replies are bytes.
        ttl_s: how long a text is kept, in seconds.
    """

    def __init__(self, redis: Redis, ttl_s: int = TTL_S) -> None:
        self._redis = redis
        self._ttl_s = ttl_s

    async def get_many(self, model: str, call_ids: Sequence[str]) -> Mapping[str, str]:
        """See `ToolCallState.get_many`."""
        # An id is a client's word, and becomes the name of a key.
        wanted = [call_id for call_id in call_ids if len(call_id) <= MAX_ID_CHARS]
        if not wanted:
            return {}
        try:
            values = await self._redis.mget([tool_call_key(call_id) for call_id in wanted])
        except UNREACHABLE as error:
            _log.warning("tool-call state cannot be read: %s", type(error).__name__)
            return {}
        # A client may go on with another model, which could not read it, or would reject it.
        prefix = f"{model}\n".encode()
        return {
            call_id: value[len(prefix) :].decode()
            for call_id, value in zip(wanted, values, strict=True)
            if value is not None and value.startswith(prefix)
        }

    async def put_many(self, model: str, texts: Mapping[str, str]) -> None:
        """See `ToolCallState.put_many`."""
        kept = {
            call_id: text
            for call_id, text in texts.items()
            if len(call_id) <= MAX_ID_CHARS and len(text) <= MAX_TEXT_CHARS
        }
        if not kept:
            return
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for call_id, text in kept.items():
                    pipeline.set(tool_call_key(call_id), f"{model}\n{text}", ex=self._ttl_s)
                await pipeline.execute()
        except UNREACHABLE as error:
            _log.warning("tool-call state cannot be kept: %s", type(error).__name__)
