"""Requests that are admitted, claimed and closed in a real Valkey, without an api or a worker."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from api.admission.admit import admit
from api.admission.auth import Principal
from shared.ids import job_id, new_request_id
from shared.queue.placement import Candidate, PlacementOptions
from shared.redis import scripts
from shared.redis.names import budget_key
from shared.types import JobDraft, Target, Tier
from shared.usage import Closing, ClosingMode, UsageRecord, finish_now

if TYPE_CHECKING:
    from redis.asyncio import Redis

API = "11" * 16
WORKER = "22" * 16
KEY = "7e57ab1e-0000-4000-8000-000000000001"


def draft(key_id: str = KEY, **fields: Any) -> JobDraft:
    """Return an attempt of a request that came now."""
    now_ms = int(time.time() * 1000)
    return JobDraft(**{
        "request_id": new_request_id(), "attempt": 1, "api_id": API, "endpoint": "chat", "requested_model": "m",
        "stream": False, "key_id": key_id, "admitted_ms": now_ms, "expires_ms": now_ms + 60_000,
        "body": msgspec.Raw(b"{}"), **fields,
    })  # fmt: skip


def at(queue: str, tier: Tier = "local", **fields: Any) -> Candidate:
    """Return a candidate in a queue."""
    return Candidate(target=Target(tier, queue, "m"), **fields)


def record_of(request: JobDraft) -> UsageRecord:
    """Return its usage record as it is opened."""
    return UsageRecord(
        request_id=request.request_id, key_id=request.key_id, endpoint="chat", requested_model="m",
        admitted_ms=request.admitted_ms,
    )  # fmt: skip


async def put(
    redis: Redis, *candidates: Candidate, request: JobDraft | None = None, **options: Any
) -> tuple[str, JobDraft]:
    """Admit a request; the queue that has it."""
    request = request or draft()
    principal = Principal(request.key_id, 0, admin_allowed=False)
    options = {"most_waiting": 1000} | options
    admitted = await admit(redis, principal, request, candidates=candidates, options=PlacementOptions(**options))
    return candidates[admitted.candidate].target.queue, request


async def claim(redis: Redis, queue: str, count: int = 1) -> list[dict[str, Any]]:
    """Take jobs out of a queue, as a worker does."""
    return await claim_as(redis, WORKER, queue, count)


async def claim_as(redis: Redis, worker: str, queue: str, count: int = 1) -> list[dict[str, Any]]:
    """Take jobs out of a queue as one of several workers; its id is 32 hex digits."""
    claimed = await scripts.run(redis, scripts.CLAIM, [queue], count, worker, 60_000, 5_000)
    return [msgspec.json.decode(raw)["k"] for raw in claimed[1::3]]


async def finish(
    redis: Redis, request: JobDraft, queue: str, cost: int, closes: ClosingMode = ClosingMode.OPEN
) -> bool:
    """Close a request of a paid API, as its worker does."""
    name = job_id(request.request_id, request.attempt)
    record = msgspec.structs.replace(record_of(request), tier="paid")
    closing = Closing.of(record, closes, api_id=API, job_id=name, queue=queue)
    return await finish_now(redis, msgspec.structs.replace(closing, cost_nano_usd=cost))


async def budget(redis: Redis) -> dict[str, int]:
    """Return the budget in Redis, without zeros: of the month that ended in this moment, too."""
    sums: Counter[str] = Counter()
    for month in await redis.keys(budget_key("*")):
        raw: dict[bytes, bytes] = await redis.hgetall(month)  # type: ignore[misc]  # redis-py: or awaitable
        sums.update({name.decode(): int(value or 0) for name, value in raw.items()})
    return {name: value for name, value in sums.items() if value}
