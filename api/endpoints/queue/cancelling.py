"""Cancelling a request, whichever api process has it: the answer says what became of it, as far as that is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import msgspec

from api.endpoints.queue.requests import open_decoder, open_record, request_hex
from api.gateway import gateway
from api.http.body import json_response
from shared.errors import NotFound
from shared.redis.names import API_SET, BACKGROUND_API, CANCEL_NEWS, NEWS_CHANNEL, open_requests, reply_key
from shared.relay import CancelReason

if TYPE_CHECKING:
    from quart import Response
    from redis.asyncio import Redis

CANCEL_S: Final = 3
"""Time that a request may take to end: a second for its upstream, and what a worker may have to count."""


async def cancel_request(request_id: str) -> Response:
    """Cancel an open request: its client gets an error that says so, and what it used until now is logged."""
    identity = request_hex(request_id)
    redis = gateway().redis
    if await open_record(redis, identity) is None:
        raise NotFound("This request is not open.")
    ended = await cancel(redis, identity, CancelReason.BY_OPERATOR)
    return json_response({"request_id": "req_" + identity, **ended}, 200 if ended["cancelled"] else 202)


async def cancel_all_of(redis: Redis, key_id: str) -> None:
    """Ask that all open requests of a key end, and do not wait for that.

    Raises:
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    apis = [api.decode() for api in await redis.smembers(API_SET)]  # type: ignore[misc]  # redis-py: or awaitable
    for api in (*apis, BACKGROUND_API):
        async for request_id, record in redis.hscan_iter(open_requests(api), count=500):
            if open_decoder.decode(record).key_id == key_id:
                by, name = CancelReason.BY_OPERATOR, uuid4().hex.encode()
                await redis.publish(NEWS_CHANNEL, b"%s %s %d %s" % (CANCEL_NEWS, request_id, by, name))


async def cancel(redis: Redis, request_id: str, by: CancelReason) -> dict[str, Any]:
    """Ask that a request ends, and wait until it has; return what is said of it.

    Raises:
        NotFound: it ended by itself before that.
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    name = uuid4().hex
    await redis.publish(NEWS_CHANNEL, b"%s %s %d %s" % (CANCEL_NEWS, request_id.encode(), by, name.encode()))
    answer = None
    for _ in range(CANCEL_S):  # a command of ours may not take longer than one of them
        answer = answer or await redis.blpop([reply_key(name)], timeout=1)  # type: ignore[misc]  # redis-py: or awaitable
    if answer is not None and (outcome := msgspec.json.decode(answer[1])) == "cancelled":
        return {"status": outcome, "cancelled": True}
    if answer is not None or await open_record(redis, request_id) is None:
        raise NotFound("This request ended by itself before it could be cancelled.")
    return {"status": "cancelling", "cancelled": False}
