"""Responses into PostgreSQL: whoever stores them, and however often, each stands there once."""

from __future__ import annotations

import logging
from itertools import takewhile
from typing import TYPE_CHECKING, Final
from uuid import UUID

import asyncpg
import msgspec

from shared.dialects.stored.pending import PendingResponse
from shared.postgres.responses.rows import conversation_items, item_ids, to_row
from shared.postgres.responses.store import ResponseStore
from shared.redis import scripts
from shared.redis.names import (
    REJECTED_USAGE_STREAM,
    done_in_conversation_key,
    done_response_key,
    removed_response_key,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis.asyncio import Redis

    from shared.postgres.database import Database

log: Final = logging.getLogger(__name__)

REJECTED_KEPT: Final = 10_000
_REFUSED: Final = (
    msgspec.MsgspecError,
    ValueError,
    OverflowError,
    RecursionError,
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    asyncpg.InterfaceError,
)
_decoder: Final = msgspec.json.Decoder(PendingResponse)


class ResponseLog:
    """Stores the responses that closings have left in Redis.

    Args:
        redis: where they wait.
        database: where they go.
    """

    def __init__(self, redis: Redis, database: Database) -> None:
        self._redis = redis
        self._store = ResponseStore(database)

    async def store(self, request_ids: Iterable[str]) -> None:
        """Store the responses of these requests, after those of their conversations that ended before them.

        Raises:
            DatabaseUnavailable: PostgreSQL cannot answer now; what was not stored waits on.
            RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
        """
        for request_id in dict.fromkeys(request_ids):
            await self._store_one(request_id)

    async def _store_one(self, request_id: str, *, is_next: bool = False) -> None:
        """Store a response; `is_next` where it is known that none of its conversation waits before it."""
        raw = await self._redis.get(done_response_key(request_id))
        if raw is None:  # another recorder has stored it, or it was deleted
            return
        conversation = key = None
        try:
            pending = _decoder.decode(raw)
            conversation, key = pending.head.conversation_id, pending.key_id
            if conversation and not is_next:
                await self._store_before(conversation, request_id)
            stored = to_row(pending)
            await self._store.write(stored, item_ids(stored), conversation_items(stored))
        except _REFUSED as error:
            # Without what was said: this stays for good.
            reason = f"{type(error).__name__} of response {request_id} of {len(raw)} bytes"
            log.warning("a response cannot be stored: %s", reason)
            await self._redis.xadd(REJECTED_USAGE_STREAM, {"r": b"", "error": reason}, maxlen=REJECTED_KEPT)
        names = [done_response_key(request_id), removed_response_key(request_id)]
        names.append(done_in_conversation_key(conversation or ""))
        # By what was read: something better that is known of it since waits on.
        if await scripts.run(self._redis, scripts.RESPONSE_STORED, names, raw, request_id):
            # Deleted after it was read here: nobody may find it again.
            await self._store.delete(UUID(request_id), UUID(key) if key else None)

    async def _store_before(self, conversation: str, request_id: str) -> None:
        """Store what of a conversation ended before a response: a recorder that died may have left it to others."""
        names: list[bytes] = await self._redis.lrange(done_in_conversation_key(conversation), 0, -1)  # type: ignore[misc]  # redis-py: or awaitable
        for name in takewhile(lambda each: each != request_id, (each.decode() for each in names)):
            await self._store_one(name, is_next=True)
