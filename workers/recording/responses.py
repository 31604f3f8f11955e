"""Responses into PostgreSQL: whoever stores them, and however often, each stands there once."""

from __future__ import annotations

import logging
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
        """Store the responses of these requests, those of a conversation in the order in which they ended.

        Raises:
            DatabaseUnavailable: PostgreSQL cannot answer now; what was not stored waits on.
            RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
        """
        for request_id in dict.fromkeys(request_ids):
            raw = await self._redis.get(done_response_key(request_id))
            if raw is not None:  # else another recorder has stored it, or it was deleted
                await self._store_one(request_id, raw)

    async def _store_one(self, request_id: str, raw: bytes) -> None:
        conversation = key = None
        try:
            pending = _decoder.decode(raw)
            conversation, key = pending.head.conversation_id, pending.key_id
            stored = to_row(pending)
            await self._store.write(stored, item_ids(stored), conversation_items(stored))
        except _REFUSED as error:
            # Without what was said: this stays for good.
            reason = f"{type(error).__name__} of response {request_id} of {len(raw)} bytes"
            log.warning("a response cannot be stored: %s", reason)
            await self._redis.xadd(REJECTED_USAGE_STREAM, {"r": b"", "error": reason}, maxlen=REJECTED_KEPT)
        names = [done_response_key(request_id), removed_response_key(request_id)]
        names.append(done_in_conversation_key(conversation or ""))
        if await scripts.run(self._redis, scripts.RESPONSE_STORED, names, raw, request_id):
            # Deleted after it was read here: nobody may find it again.
            await self._store.delete(UUID(request_id), UUID(key) if key else None)
