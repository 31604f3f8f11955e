"""/claw/v1/api-keys/{id}/export and /erase: all that is known of a key, and none of it any more."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec
from quart import Response

from api.endpoints.manage.usage import shown_entry, wait_until_recorded
from api.endpoints.queue.cancelling import cancel_all_of
from api.gateway import gateway
from api.http.body import json_response
from shared.errors import NotFound
from shared.postgres.audit import INTERNAL_ACTOR, AuditLog
from shared.postgres.erasure import KeyRecords
from shared.postgres.transaction import after_commit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

COUNTED: Final = ("sessions", "messages", "responses", "conversations", "items", "usage")


async def export_key(key_id: str) -> Response:
    """Give out all that is known of a key as lines of JSON: it, its chats, its responses, its usage, an end."""
    state, found = gateway(), _uuid(key_id)
    records = KeyRecords(state.database, found)
    key = await records.key()
    if key is None:
        raise NotFound("There is no key with this id.")
    # By hand: a GET leaves no entry by itself.
    await AuditLog(state.database).add("export_key", INTERNAL_ACTOR, {"key_id": str(found)})
    await wait_until_recorded(state.redis)
    return Response(_lines(records, key), content_type="application/x-ndjson")


async def erase_key(key_id: str) -> Response:
    """Revoke a key, end its requests, delete what is known of it; its usage stays, as nobody's. Again is no error."""
    state, found = gateway(), _uuid(key_id)
    counts = await KeyRecords(state.database, found).erase()
    if counts is None:
        raise NotFound("There is no key with this id.")
    await state.key_changes.erased(str(found))
    await after_commit(lambda: cancel_all_of(state.redis, str(found)))
    return json_response({"id": str(found), "erased": True, **counts})


async def _lines(records: KeyRecords, key: dict[str, Any]) -> AsyncIterator[bytes]:
    """Yield the lines; without the last one something is missing, since the connection broke."""
    counts: Counter[str] = Counter(dict.fromkeys(COUNTED, 0))
    yield _line("key", key)
    async for session in records.sessions():
        counts["sessions"] += 1
        yield _line("session", dict(session))
        async for message in records.messages(session["id"]):
            counts["messages"] += 1
            yield _line("message", {"session_id": session["id"], **message})
    async for response in records.responses():
        counts["responses"] += 1
        yield _line("response", dict(response))
    async for conversation in records.conversations():
        counts["conversations"] += 1
        yield _line("conversation", dict(conversation))
        async for item in records.items(conversation["id"]):
            counts["items"] += 1
            yield _line("item", {"conversation_id": conversation["id"], **item})
    async for row in records.usage():
        counts["usage"] += 1
        yield _line("usage", shown_entry(row))
    yield _line("end", counts)


def _line(kind: str, fields: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"type": kind, **fields}) + b"\n"


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotFound("There is no key with this id.") from None
