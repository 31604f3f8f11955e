"""/v1/requests: the open requests of a key, for its own clients."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from api.admission.lookup_limits import LIST_COSTS, count_lookup
from api.endpoints.answer import authenticated_context
from api.endpoints.manage.guard import integer_argument
from api.endpoints.queue.cancelling import cancel
from api.endpoints.queue.requests import current_state, open_decoder, open_record, request_hex
from api.gateway import gateway
from api.http.body import json_response
from api.http.errors import from_exception
from shared.errors import NotFound
from shared.queue.inspection import present_job
from shared.redis.client import UNREACHABLE
from shared.redis.names import (
    API_SET,
    BACKGROUND_API,
    client_request_key,
    open_requests,
    owner_of,
    queue_of_place,
)
from shared.relay import CancelReason
from shared.usage import UsageRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quart import Response
    from redis.asyncio import Redis

    from api.requests.context import RequestContext

ENDPOINT: Final = "requests"
MOST_LISTED: Final = 100
MOST_LOOKED_AT: Final = 10_000
"""Open requests of all keys that one call looks at, at the most."""
_STEP: Final = 1000


async def list_own_requests() -> Response:
    """List the open requests of the caller's key, the oldest first; `has_more` where not all were looked at."""
    context = await authenticated_context(ENDPOINT)
    with logged(context):
        limit = integer_argument("limit", MOST_LISTED, low=1, high=MOST_LISTED)
        await _count_look(context, LIST_COSTS)
        records, has_more = await _open_of(gateway().redis, context.key_id)
    found = sorted(records, key=lambda record: record.request_id)
    shown = [_shown(record) for record in found[:limit]]
    return json_response({"object": "list", "data": shown, "has_more": has_more or len(found) > limit})


async def retrieve_own_request(request_id: str) -> Response:
    """Show where an open request is; its own id or the client's `X-Client-Request-Id` names it."""
    context = await authenticated_context(ENDPOINT)
    with logged(context):
        record = await _own(context, request_id)
        return json_response(_shown(record) | await _whereabouts(gateway().redis, record.request_id))


async def cancel_own_request(request_id: str) -> Response:
    """Cancel an open request of the caller's key; its own client is told so."""
    context = await authenticated_context(ENDPOINT)
    with logged(context):
        record = await _own(context, request_id)
        ended = await cancel(gateway().redis, record.request_id, CancelReason.BY_OWNER)
    shown = {"id": "req_" + record.request_id, "object": "request", **ended}
    return json_response(shown, 200 if ended["cancelled"] else 202)


@contextmanager
def logged(context: RequestContext) -> Iterator[None]:
    """Log the request however it ends: answered, refused, left, or without Redis."""
    with context.refusals():
        try:
            yield
        except UNREACHABLE as error:
            raise from_exception(error) from None
    context.answered()


async def _count_look(context: RequestContext, cost: int = 1) -> None:
    if context.key_id is not None:  # the operator's own token has no limits
        await count_lookup(gateway().redis, context.key_id, cost)


async def _own(context: RequestContext, request_id: str) -> UsageRecord:
    """Return the record of an open request of the caller's key.

    Raises:
        NotFound: it has none of this id that is open; also where another key has.
    """
    redis = gateway().redis
    await _count_look(context)
    named = await redis.get(client_request_key(owner_of(context.key_id), request_id))
    identity = named.decode() if named else request_hex(request_id)
    record = await open_record(redis, identity)
    if record is None or record.key_id != context.key_id:
        raise NotFound("No request of this id is open.", param="request_id")
    return record


async def _whereabouts(redis: Redis, request_id: str) -> dict[str, Any]:
    """Return what its api process says of a request, and its place in the queue; nothing where that is silent."""
    state = await current_state(redis, request_id)
    if state is None:
        return {}
    job = await present_job(redis, request_id) if state.state == "waiting" else None
    rank = await redis.zrank(queue_of_place(state.backend), job) if job else None
    return {
        "status": state.state,
        "model": state.model,
        "tier": state.tier,
        "tokens": state.tokens,
        "queue_position": None if rank is None else rank + 1,
        "queue_eta_s": None if rank is None else gateway().open_requests.eta_s(state.backend, rank + 1),
    }


async def _open_of(redis: Redis, key_id: str | None) -> tuple[list[UsageRecord], bool]:
    """Return the open requests of a key, and whether there were too many of all keys to look at."""
    found: dict[str, UsageRecord] = {}  # HSCAN may give an entry twice, while its hash grows
    looked_at = 0
    for api in (*await redis.smembers(API_SET), BACKGROUND_API.encode()):  # type: ignore[misc]  # redis-py: or awaitable
        cursor, is_first = 0, True
        while is_first or cursor:  # HSCAN begins at 0, and says 0 at the end
            is_first = False
            cursor, entries = await redis.hscan(open_requests(api.decode()), cursor, count=_STEP)
            records = [open_decoder.decode(raw) for raw in entries.values()]
            found |= {record.request_id: record for record in records if record.key_id == key_id}
            looked_at += len(entries)
            if looked_at >= MOST_LOOKED_AT:
                return list(found.values()), True
    return list(found.values()), False


def _shown(record: UsageRecord) -> dict[str, Any]:
    return {
        "id": "req_" + record.request_id,
        "object": "request",
        "created": record.admitted_ms // 1000,
        "age_s": round(max(0.0, time.time() - record.admitted_ms / 1000), 1),
        "endpoint": record.endpoint,
        "requested_model": record.requested_model,
        "stream": record.stream,
    }
