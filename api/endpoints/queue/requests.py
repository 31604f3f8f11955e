"""/claw/queue/requests: the requests that wait and run, one of them whole, and cancelling it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, get_args
from uuid import UUID, uuid4

import msgspec
from quart import Response, request

from api.endpoints.manage.guard import flag_argument, integer_argument
from api.gateway import gateway
from api.http.body import json_response
from api.requests.open_requests import RequestState
from shared.errors import InvalidRequest, NotFound
from shared.postgres.audit import INTERNAL_ACTOR, AuditLog
from shared.queue import inspection
from shared.queue.inspection import JobHead, Place
from shared.redis.names import (
    API_SET,
    BACKGROUND_API,
    DESCRIBE_NEWS,
    NEWS_CHANNEL,
    PAUSED,
    QUEUES,
    job_key,
    open_requests,
    place_of_queue,
    queue_of_place,
    reply_key,
)
from shared.types import Tier
from shared.usage import UsageRecord

if TYPE_CHECKING:
    from redis.asyncio import Redis

DEFAULT_LIMIT: Final = 50
HIGHEST_LIMIT: Final = 200
MOST_LOOKED_AT: Final = 1000
"""Jobs that one call reads at the most, however few of them are what it looks for."""
ANSWER_S: Final = 1
"""Time that the api process of a request may take to say where it is."""
STATES: Final = ("waiting", "running")
open_decoder: Final[msgspec.json.Decoder[UsageRecord]] = msgspec.json.Decoder(UsageRecord)
"""Of what an open request is known as."""
_state_decoder: Final = msgspec.json.Decoder(RequestState)


class Filter(NamedTuple):
    """A filter of requests; None is any."""

    key_id: str | None
    model: str | None
    tier: str | None
    backend: str | None

    def takes_queue(self, queue: str) -> bool:
        """Return whether a queue may hold some."""
        place = place_of_queue(queue)
        return self.tier in {None, place.partition(":")[0]} and self.backend in {None, place}

    def takes(self, head: JobHead) -> bool:
        """Return whether a job is one of them."""
        return self.key_id in {None, head.key_id or "internal"} and self.model in {
            None, head.model, head.requested_model,
        }  # fmt: skip


class Cursor(NamedTuple):
    """The place at which a list goes on: the state, the queue, and how many of its jobs were looked at."""

    state: str
    queue: str
    offset: int


async def list_requests() -> Response:
    """List the requests that wait and run, by queue. `next_cursor` begins the next page, null on the last."""
    limit = integer_argument("limit", DEFAULT_LIMIT, low=1, high=HIGHEST_LIMIT)
    found, next_cursor = await requested_page(limit)
    return json_response({"requests": found, "next_cursor": next_cursor})


async def requested_page(limit: int) -> tuple[list[dict[str, Any]], str | None]:
    """Return the requests that the query string asks for, and the cursor of the next page; None on the last.

    A queue moves while it is read: a request may be on two pages, or on none.

    Raises:
        InvalidRequest: a filter or the cursor means nothing.
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    wanted = Filter(*(request.args.get(name) or None for name in ("key_id", "model", "tier", "backend")))
    if wanted.tier is not None and wanted.tier not in get_args(Tier):
        raise InvalidRequest(f"tier must be one of {', '.join(get_args(Tier))}.")
    states = _states()
    redis = gateway().redis
    queues = await _queues(redis, wanted)
    found: list[dict[str, Any]] = []
    at = _cursor(states, queues)
    looked_at = 0
    while at is not None and len(found) < limit and looked_at < MOST_LOOKED_AT:
        read = inspection.waiting if at.state == "waiting" else inspection.running
        places = await read(redis, at.queue, at.offset, limit)
        heads = await inspection.heads(redis, [place.job for place in places])
        taken = 0
        for place, head in zip(places, heads, strict=True):
            if len(found) == limit:
                break
            taken += 1
            if head is None or wanted.takes(head):
                found.append(_listed(at, place, head))
        # An empty queue counts as one: there may be thousands of them.
        looked_at += max(1, taken)
        is_over = taken == len(places) < limit
        at = _following(at, states, queues) if is_over else at._replace(offset=at.offset + taken)
    return found, None if at is None else _text(at)


async def show_request(request_id: str) -> Response:
    """Show where an open request is, what it went through, and with `?body=true` its prompt while it is in Redis.

    Who reads somebody's prompt leaves an entry in the audit log, before it is read.
    """
    identity = request_hex(request_id)
    with_body = flag_argument("body")
    redis = gateway().redis
    record = await open_record(redis, identity)
    if record is None:
        raise NotFound("This request is not open. If it has ended, `nself claw logs` tells its story.")
    if with_body:
        whose = {"request_id": "req_" + identity, "key_id": record.key_id or "internal"}
        await AuditLog(gateway().database).add("show_request_body", INTERNAL_ACTOR, whose)
    state = await current_state(redis, identity)
    shown: dict[str, Any] = {
        "request_id": "req_" + identity,
        "key_id": record.key_id or "internal",
        "endpoint": record.endpoint,
        "requested_model": record.requested_model,
        "stream": record.stream,
        "age_s": _age_s(record.admitted_ms),
        **_where(state),
    }
    job = await inspection.present_job(redis, identity)
    if state is not None and state.state == "waiting" and job is not None:
        rank = await redis.zrank(queue_of_place(state.backend), job)
        shown["position"] = None if rank is None else rank + 1
    if with_body:
        raw = await redis.get(job_key(job)) if job is not None else None
        shown["job"] = msgspec.Raw(raw) if raw else None
    return json_response(shown)


def request_hex(text: str) -> str:
    """Return the hex digits of a request's id, as the header, the log or an entry writes it.

    Raises:
        NotFound: it is none.
    """
    try:
        return UUID(text.removeprefix("req_")).hex
    except ValueError:
        raise NotFound("This is not the id of a request, as in the header x-request-id.") from None


async def open_record(redis: Redis, request_id: str) -> UsageRecord | None:
    """Return the record of a request that is open, as it was admitted; None where it is not.

    Raises:
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    apis = [api.decode() for api in await redis.smembers(API_SET)]  # type: ignore[misc]  # redis-py: or awaitable
    pipeline = redis.pipeline(transaction=False)
    for api in (*apis, BACKGROUND_API):
        pipeline.hget(open_requests(api), request_id)
    found = next((raw for raw in await pipeline.execute() if raw), None)
    return None if found is None else open_decoder.decode(found)


async def current_state(redis: Redis, request_id: str) -> RequestState | None:
    """Ask the api process of a request where it is; None where that does not answer in time.

    Raises:
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    name = uuid4().hex
    await redis.publish(NEWS_CHANNEL, b"%s %s %s" % (DESCRIBE_NEWS, request_id.encode(), name.encode()))
    answer = await redis.blpop([reply_key(name)], timeout=ANSWER_S)  # type: ignore[misc]  # redis-py: or awaitable
    return None if answer is None else _state_decoder.decode(answer[1])


def _where(state: RequestState | None) -> dict[str, Any]:
    if state is None:
        return {"state": "unknown"}
    return {
        "state": state.state,
        "attempt": state.attempt,
        "backend": state.backend,
        "tier": state.tier,
        "model": state.model,
        "tokens": state.tokens,
        "story": [{"at_ms": event.at_ms, "what": event.what, "detail": event.detail} for event in state.story],
    }


def _listed(at: Cursor, place: Place, head: JobHead | None) -> dict[str, Any]:
    identity, _, attempt = place.job.rpartition("-")
    admitted_ms = inspection.admitted_ms_of(place.job)
    backend = place_of_queue(at.queue)
    shown: dict[str, Any] = {
        "request_id": "req_" + identity,
        "attempt": int(attempt) if attempt.isdigit() else None,
        "state": at.state,
        "backend": backend,
        "tier": backend.partition(":")[0],
        "position": place.position or None,
        "priority": place.priority if at.state == "waiting" else None,
        "age_s": None if admitted_ms is None else _age_s(admitted_ms),
        # Of a large job that runs its worker alone knows the rest.
        "model": None, "requested_model": None, "key_id": None, "endpoint": None, "stream": None,
    }  # fmt: skip
    if head is not None:
        shown |= {
            "model": head.model,
            "requested_model": head.requested_model,
            "key_id": head.key_id or "internal",
            "endpoint": head.endpoint,
            "stream": head.stream,
        }
    return shown


def _age_s(admitted_ms: int) -> float:
    return round(max(0.0, time.time() - admitted_ms / 1000), 1)


def _states() -> tuple[str, ...]:
    text = request.args.get("state") or None
    if text is not None and text not in STATES:
        raise InvalidRequest(f"state must be one of {', '.join(STATES)}.")
    return STATES if text is None else (text,)


async def _queues(redis: Redis, wanted: Filter) -> list[str]:
    pipeline = redis.pipeline(transaction=False)
    pipeline.smembers(QUEUES)
    pipeline.hkeys(PAUSED)
    names = {name.decode() for names in await pipeline.execute() for name in names}
    return sorted(filter(wanted.takes_queue, names))


def _cursor(states: tuple[str, ...], queues: list[str]) -> Cursor | None:
    """Return where the list begins: at the cursor of the query string, or at its start."""
    text = request.args.get("cursor")
    if not text:
        return Cursor(states[0], queues[0], 0) if queues else None
    state, _, rest = text.partition(",")
    offset, _, place = rest.partition(",")
    if state not in states or not (offset.isascii() and offset.isdigit() and len(offset) < 10):
        raise InvalidRequest("cursor must be the next_cursor of a list with the same filters.")
    at = Cursor(state, queue_of_place(place), int(offset))
    # The queue may be gone by now.
    return at if at.queue in queues else _following(at, states, queues)


def _following(at: Cursor, states: tuple[str, ...], queues: list[str]) -> Cursor | None:
    """Return the start of the next queue, or of the next state's first; None at the end."""
    later = [queue for queue in queues if queue > at.queue]
    if later:
        return Cursor(at.state, later[0], 0)
    left = states[states.index(at.state) + 1 :]
    return Cursor(left[0], queues[0], 0) if left and queues else None


def _text(at: Cursor) -> str:
    return f"{at.state},{at.offset},{place_of_queue(at.queue)}"
