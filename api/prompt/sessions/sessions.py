"""Sessions: the messages they put before those of a request, and those that it brings to them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final
from uuid import UUID

import msgspec

from api.admission.admit import QueueUnavailable
from api.prompt.sessions.leases import Leases, not_found
from shared.errors import InvalidRequest, Overloaded
from shared.openai.sessions.history import INSTRUCTIONS
from shared.openai.sessions.merge import Known, Merged, merge, merge_anew
from shared.openai.sessions.messages import MOST_MESSAGE_BYTES, call_ids, calls_of, has_media, without_media
from shared.openai.sessions.turn import PendingTurn, TurnHead
from shared.postgres.database import DatabaseUnavailable
from shared.postgres.sessions import MOST_HISTORY_MESSAGES, SessionStore
from shared.process.json_values import MOST_VALUES
from shared.process.tasks import work_beside
from shared.redis.client import UNREACHABLE
from shared.redis.names import owner_of, turn_key

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from redis.asyncio import Redis

    from shared.postgres.database import Database
    from shared.postgres.sessions import Session, StoredMessage
    from shared.settings import Settings

MOST_TURN_BYTES: Final = 1024 * 1024
"""Bytes of a request's new messages that are kept. More is refused: a history must not have less than was said."""
MOST_TURN_MESSAGES: Final = MOST_HISTORY_MESSAGES
_MARGIN_S: Final = 60.0
_pending: Final = msgspec.json.Decoder(PendingTurn)


class _Messages(msgspec.Struct):
    messages: list[msgspec.Raw]


class SessionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request to a session.

    Args:
        session_id: a UUID, in lower case.
        request_id: its own id.
        key_id: who asks; None is the internal token.
        is_admin_mode: whether it is told the snapshot of the installation.
        body: the client's own JSON, checked.
        wait_s: for how long it waits for the request before it, in seconds.
        is_anew: whether it asks the last question again, in place of it and of the answer it had.
    """

    session_id: str
    request_id: str
    key_id: str | None
    is_admin_mode: bool
    body: bytes
    wait_s: float
    is_anew: bool = False

    @property
    def owner(self) -> str:
        """Return the name of who asks."""
        return owner_of(self.key_id)


class OpenSession(msgspec.Struct, frozen=True):
    """A session that a request has: what is put before its messages, and whether it is in admin mode."""

    session_id: str
    merged: Merged
    is_admin_mode: bool

    @property
    def call_ids(self) -> tuple[str, ...]:
        """Return the id of the first call of each earlier message that has calls."""
        earlier = (each.message for turn in (*self.merged.turns, self.merged.begun) for each in turn)
        return tuple(min(call_ids(message)) for message in earlier if calls_of(message))


class Sessions:
    """The sessions of all keys, as requests of this process use them.

    Args:
        settings: how long requests wait, and live.
        redis: has what is not in PostgreSQL yet.
        database: has all else.
        spawn: does something beside the requests.
    """

    def __init__(
        self,
        settings: Settings,
        redis: Redis,
        database: Database,
        spawn: Callable[[Coroutine[Any, Any, None], str], object],
    ) -> None:
        self._redis = redis
        self._store = SessionStore(database)
        self._life_s = int(settings.queue_timeout_s * 2 + settings.total_timeout_s + settings.api_gone_s + _MARGIN_S)
        self.leases = Leases(redis, spawn)

    async def open(self, request: SessionRequest) -> OpenSession:
        """Take a session for a request and match what is stored with what the client sends.

        Raises:
            NotFound: it is another key's.
            Conflict: another request has it all the time.
            InvalidRequest: the new messages are too large to be kept.
            Overloaded: PostgreSQL or Redis does not answer.
        """
        try:
            waiting = await self.leases.take(request.owner, request.session_id, request.request_id, request.wait_s)
            return await self._opened(request, waiting)
        except BaseException:
            # Also where it is not known: a step that was cancelled may have been carried out.
            self.leases.give_back(request.session_id, request.request_id)
            raise

    async def _opened(self, request: SessionRequest, waiting: list[bytes]) -> OpenSession:
        try:
            session = await self._store.find(UUID(request.session_id))
            rows = await self._store.history(UUID(request.session_id)) if session is not None else []
        except DatabaseUnavailable:
            raise Overloaded(
                "The session cannot be read: the database does not answer.",
                code="database_unavailable",
                retry_after_s=2,
            ) from None
        size = len(request.body) + sum(len(row.message) for row in rows) + sum(map(len, waiting))
        try:
            merged, head, is_admin_mode = await work_beside(size, lambda: _matched(request, session, rows, waiting))
        except RecursionError:
            raise InvalidRequest(
                "A message of this session is nested too deeply to be kept.", param="messages", code="invalid_json"
            ) from None
        value = request.session_id.encode() + b" " + msgspec.json.encode(head)
        try:
            async with asyncio.timeout(2.0):
                await self._redis.set(turn_key(request.request_id), value, ex=self._life_s)
        except UNREACHABLE:
            raise QueueUnavailable from None
        return OpenSession(request.session_id, merged, is_admin_mode)


def _matched(
    request: SessionRequest, session: Session | None, rows: list[StoredMessage], waiting: list[bytes]
) -> tuple[Merged, TurnHead, bool]:
    pending = [_pending.decode(raw) for raw in waiting]
    if session is None and not any(turn.head.begins for turn in pending):
        # It was deleted while they were made: the recorder drops them.
        pending = []
    rows = readable(rows)
    key_id = None if session is None or session.key_id is None else str(session.key_id)
    owners = {turn.head.key_id for turn in pending} | (set() if session is None else {key_id})
    if owners - {request.key_id}:
        raise not_found(request.session_id)
    stored = with_pending([_known(row) for row in rows], pending)
    sent = [Known.of(bytes(raw)) for raw in msgspec.json.decode(request.body, type=_Messages).messages]
    match = merge_anew if request.is_anew else merge
    merged = match(stored, sent, is_whole=session is None or session.message_count <= len(rows))
    kept = [_kept(each) for each in merged.new]
    if sum(map(len, kept)) > MOST_TURN_BYTES or len(kept) > MOST_TURN_MESSAGES:
        raise InvalidRequest(
            f"The new messages of a session's request may be {MOST_TURN_MESSAGES}, and have {MOST_TURN_BYTES} bytes "
            "together, without images.",
            param="messages",
            code="session_turn_too_large",
        )
    head = TurnHead(
        key_id=request.key_id,
        begins=not owners,
        is_admin_mode=request.is_admin_mode,
        after=merged.after,
        messages=tuple(map(msgspec.Raw, kept)),
        digests=tuple(each.digest.hex() for each in merged.new),
    )
    # A session that is not in PostgreSQL yet is as its first request began it.
    begun = next((turn.head.is_admin_mode for turn in pending if turn.head.begins), False)
    return merged, head, begun if session is None else session.is_admin_mode


def readable(rows: list[StoredMessage]) -> list[StoredMessage]:
    """Return the newest messages that have `MOST_VALUES` together, and the last instructions before them.

    A job with more would be decoded in one step, during which nothing else of its worker goes on.
    """
    values = 0
    for number in range(len(rows) - 1, -1, -1):
        # Those in texts too: it is a bound, and no conversation is near it.
        values += sum(map(rows[number].message.count, ",[{"))
        if values > MOST_VALUES:
            older = [row for row in rows[: number + 1] if row.role in INSTRUCTIONS]
            newest = next((row.request_id for row in reversed(older) if row.place == 0), None)
            return [row for row in older if row.request_id == newest] + rows[number + 1 :]
    return rows


def with_pending(stored: list[Known], pending: list[PendingTurn]) -> list[Known]:
    """Return what is stored with what will be: a turn in place of what its request has, and of what it supersedes."""
    for turn in pending:
        request_id, head = turn.record.request_id, turn.head
        raws = [*head.messages, turn.message]
        digests = [*map(bytes.fromhex, head.digests), None]
        brought = [
            Known.of(bytes(raw), digest, (request_id, number))
            for number, (raw, digest) in enumerate(zip(raws, digests, strict=True))
        ]
        places = [each.place for each in stored]
        begin = next((number for number, place in enumerate(places) if place and place[0] == request_id), len(stored))
        following = [each for each in stored[begin:] if each.place is None or each.place[0] != request_id]
        stored = [*_left_by(head, stored[:begin]), *brought, *following]
    return stored


def _left_by(head: TurnHead, before: list[Known]) -> list[Known]:
    """Return what a turn does not supersede of what is before it."""
    if head.after is None:
        return before
    request_id, number = head.after
    # Nothing of a request may be left: then the place is the one before its first message.
    superseded = next((at for at, each in enumerate(before) if each.place == (request_id, number + 1)), len(before))
    kept = next((at + 1 for at, each in enumerate(before) if each.place == head.after), superseded)
    return before[:kept]


def _known(row: StoredMessage) -> Known:
    return Known.of(row.message.encode(), row.digest, (row.request_id.hex, row.place))


def _kept(each: Known) -> bytes:
    """Return a message as it is kept: without images, sounds and files where it is large."""
    if len(each.raw) <= MOST_MESSAGE_BYTES or not has_media(each.message):
        return each.raw
    return msgspec.json.encode(without_media(each.message))
