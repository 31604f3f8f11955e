"""/claw/v1/usage: the usage log, newest first."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec
from quart import request

from api.endpoints.manage.guard import integer_argument
from api.gateway import gateway
from api.http.body import json_response
from api.http.times import moment_of
from shared.errors import InvalidRequest
from shared.postgres import queries
from shared.postgres.erasure import NOBODY
from shared.queue.story import StoryEvent
from shared.redis.client import UNREACHABLE
from shared.redis.names import USAGE_STREAM

if TYPE_CHECKING:
    import asyncpg
    from quart import Response
    from redis.asyncio import Redis


INTERNAL_KEY_ID: Final = "internal"
ERASED_KEY_ID: Final = "erased"
"""All keys that were erased, together."""
DEFAULT_LIMIT: Final = 1000
HIGHEST_LIMIT: Final = 10_000
DRAIN_WAIT_S: Final = 1.0
_DRAIN_POLL_S: Final = 0.05
_BEFORE_ALL_IDS: Final = UUID(int=0)


async def list_usage() -> Response:
    """List one entry a request. `next_before` is the `before` of the next page, null on the last."""
    state = gateway()
    key_id, internal = _key_argument()
    before = _before_argument()
    request_id = _request_argument()
    limit = integer_argument("limit", DEFAULT_LIMIT, low=1, high=HIGHEST_LIMIT)
    await wait_until_recorded(state.redis)
    rows = await state.database.fetch(queries.LIST_USAGE, key_id, internal, *before, limit, request_id)
    usage = [shown_entry(row) for row in rows]
    next_before = f"{usage[-1]['created_at']},{usage[-1]['request_id']}" if len(usage) == limit else None
    return json_response({"usage": usage, "next_before": next_before})


def _key_argument() -> tuple[UUID | None, bool]:
    """Return the key asked for, and whether it is the internal token."""
    text = request.args.get("key_id") or None
    if text is None or text == INTERNAL_KEY_ID:
        return None, text is not None
    if text == ERASED_KEY_ID:
        return NOBODY, False
    try:
        return UUID(text), False
    except ValueError:
        raise InvalidRequest(f"key_id must be the id of a key, {INTERNAL_KEY_ID} or {ERASED_KEY_ID}.") from None


def _request_argument() -> UUID | None:
    """Return the request asked for: as the header x-request-id, the log, or an entry writes it."""
    text = request.args.get("request_id") or None
    try:
        return None if text is None else UUID(text.removeprefix("req_"))
    except ValueError:
        raise InvalidRequest("request_id must be the id of a request, as in the header x-request-id.") from None


def _before_argument() -> tuple[datetime | None, UUID]:
    """Return a time, or a time and the id of a request of that time: only what is older is wanted."""
    text = request.args.get("before")
    if not text:
        return None, _BEFORE_ALL_IDS
    time, _, request_id = text.partition(",")
    wrong = InvalidRequest("before must be an ISO 8601 time with its zone, or a next_before.")
    try:
        before = moment_of(time.replace(" ", "+"))  # an unescaped + arrives as a space
        last_seen = UUID(request_id) if request_id else _BEFORE_ALL_IDS
    except ValueError:
        raise wrong from None
    return before, last_seen


async def wait_until_recorded(redis: Redis) -> None:
    """Wait briefly for the recorder, so that a script sees the request that it just made."""
    with suppress(TimeoutError, *UNREACHABLE):
        async with asyncio.timeout(DRAIN_WAIT_S):
            while await redis.xlen(USAGE_STREAM):
                await asyncio.sleep(_DRAIN_POLL_S)


def story_events(story: str | None) -> list[dict[str, Any]]:
    """Return a request's story as it is shown: what happened when, beside what every request goes through."""
    events = [] if story is None else msgspec.json.decode(story, type=list[StoryEvent])
    return [{"at_ms": event.at_ms, "what": event.what, "detail": event.detail} for event in events]


def shown_entry(row: asyncpg.Record) -> dict[str, Any]:
    """Return a row of the usage log as clients read it."""
    shown = dict(row)
    shown["request_id"] = str(row["request_id"])
    shown["key_id"] = {None: INTERNAL_KEY_ID, NOBODY: ERASED_KEY_ID}.get(row["key_id"]) or str(row["key_id"])
    shown["key_name"] = row["key_name"] or ("" if shown["key_id"] == str(row["key_id"]) else shown["key_id"])
    shown["model"] = row["model"] or row["asked_model"]
    shown["story"] = story_events(row["story"])
    shown["cost_usd"] = float(row["cost_usd"])
    shown["created_at"] = shown.pop("admitted_at").isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return shown
