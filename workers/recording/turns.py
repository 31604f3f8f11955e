"""Turns of sessions into PostgreSQL: whoever stores them, and however often, each stands there once."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import asyncpg
import msgspec

from shared.openai.sessions.messages import digest_of, text_of
from shared.openai.sessions.turn import PendingTurn, parted
from shared.postgres.sessions import MessageRow, SessionStore, TurnRows
from shared.redis.client import UNREACHABLE
from shared.redis.names import REJECTED_USAGE_STREAM, removed_session_key, turns_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis.asyncio import Redis

    from shared.postgres.database import Database

log: Final = logging.getLogger(__name__)

REJECTED_KEPT: Final = 10_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SOURCES: Final = {"local": "local", "gemini": "free_gemini", "paid": "api_key"}
_REFUSED: Final = (
    msgspec.MsgspecError,
    ValueError,
    OverflowError,
    RecursionError,  # nested deeper than there is room here, though there was where it came in
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    asyncpg.InterfaceError,
)
_decoder: Final = msgspec.json.Decoder(PendingTurn)


class TurnLog:
    """Stores the turns that closings have left in Redis.

    Args:
        redis: where they wait.
        database: where they go.
    """

    def __init__(self, redis: Redis, database: Database) -> None:
        self._redis = redis
        self._sessions = SessionStore(database)

    async def store(self, session_ids: Iterable[str]) -> None:
        """Store all turns of these sessions that wait.

        Raises:
            DatabaseUnavailable: PostgreSQL cannot answer now; what was not stored waits on.
            RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
        """
        # In one order in every recorder, so that two of them cannot wait for each other.
        for session_id in sorted(set(session_ids)):
            await self._store_all(session_id)

    async def _store_all(self, session_id: str) -> None:
        failure: Exception | None = None
        waiting: list[bytes] = []
        removed: bytes | None = None
        try:
            async with self._sessions.writing(UUID(session_id)) as writer:
                try:
                    # As the only one who writes to the session: an older state of a turn cannot come after a newer one.
                    waiting = await self._redis.lrange(turns_key(session_id), 0, -1)  # type: ignore[misc]  # redis-py: or awaitable
                    removed = await self._redis.get(removed_session_key(UUID(session_id).hex))
                except UNREACHABLE as error:
                    failure = error  # raised below, where it is not taken for PostgreSQL's
                for raw in waiting:
                    if not await writer.write(_without_return(to_rows(_decoder.decode(raw)), removed)):
                        log.info("session %s is another key's or was deleted: a turn of it is left out", session_id)
        except _REFUSED as error:
            waiting = await self._store_one_by_one(session_id, error)
        if failure is not None:
            raise failure
        await self._forget(session_id, waiting, [])

    async def _store_one_by_one(self, session_id: str, error: Exception) -> list[bytes]:
        """Store what can be of a session with a turn that cannot; return what was looked at."""
        key = turns_key(session_id)
        waiting: list[bytes] = await self._redis.lrange(key, 0, -1)  # type: ignore[misc]  # typed for both clients
        removed = await self._redis.get(removed_session_key(UUID(session_id).hex))
        for raw in waiting:
            reasons: list[str] = []
            try:
                async with self._sessions.writing(UUID(session_id)) as writer:
                    await writer.write(_without_return(to_rows(_decoder.decode(raw)), removed))
            except _REFUSED as refusal:
                reasons.append(f"{type(refusal).__name__} of a turn of {len(raw)} bytes of session {session_id}")
            await self._forget(session_id, [raw], reasons)
        log.error("a turn of session %s cannot be stored: %s", session_id, type(error).__name__)
        return []

    async def _forget(self, session_id: str, turns: list[bytes], reasons: list[str]) -> None:
        """Remove turns that are committed, or never will be."""
        if not turns:
            return
        async with self._redis.pipeline(transaction=True) as pipeline:
            for reason in reasons:
                # Without what was said: this stays for good.
                pipeline.xadd(REJECTED_USAGE_STREAM, {"r": b"", "error": reason}, maxlen=REJECTED_KEPT)
            for raw in turns:
                # By value: another recorder may have removed some of them.
                pipeline.lrem(turns_key(session_id), 1, raw)  # type: ignore[arg-type]  # bytes are fine
            await pipeline.execute()


def _without_return(turn: TurnRows, removed: bytes | None) -> TurnRows:
    """Return a turn that begins no session where its own was deleted since: it is only told again."""
    is_again = turn.begins and removed == turn.request_id.hex.encode()
    return msgspec.structs.replace(turn, begins=False) if is_again else turn


def to_rows(turn: PendingTurn) -> TurnRows:
    """Return a turn as it is stored.

    Raises:
        ValueError, OverflowError: an id is no UUID, or the time is out of range.
        MsgspecError: a message is no JSON.
    """
    head, record = turn.head, turn.record
    brought = [_row(raw, bytes.fromhex(digest)) for raw, digest in zip(head.messages, head.digests, strict=True)]
    content, thoughts = parted(turn.answer)
    answer = msgspec.structs.replace(_row(content), state=turn.state)
    return TurnRows(
        key_id=UUID(head.key_id) if head.key_id else None,
        request_id=UUID(record.request_id),
        begins=head.begins,
        is_admin_mode=head.is_admin_mode,
        created_at=_EPOCH + timedelta(milliseconds=record.admitted_ms),
        after=None if head.after is None else (UUID(head.after[0]), head.after[1]),
        messages=(*brought, answer),
        tier_source=_SOURCES.get(record.tier),
        model_used=record.model.replace("\x00", "\ufffd") or None,
        latency_ms=record.duration_ms,
        input_tokens=record.prompt_tokens,
        output_tokens=record.completion_tokens,
        # Halves of surrogate pairs are no UTF-8, which PostgreSQL stores.
        reasoning=thoughts.replace("\x00", "\ufffd").encode("utf-8", "replace").decode() or None,
    )


def _row(raw: msgspec.Raw, digest: bytes | None = None) -> MessageRow:
    message: dict[str, Any] = msgspec.json.decode(raw)
    return MessageRow(
        role=str(message.get("role")),
        message=bytes(raw).decode(),
        content=text_of(message),
        digest=digest or digest_of(message),
    )
