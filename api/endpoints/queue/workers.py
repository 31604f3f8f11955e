"""/claw/queue/workers: the live workers, and draining one."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from quart import Response

from api.gateway import gateway
from api.http.body import json_response
from shared.errors import NotFound
from shared.redis.names import draining_key, place_of_queue, worker_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis.asyncio import Redis

    from shared.types import Announcement

_WORKER_ID: Final = re.compile(r"[0-9a-f]{32}")
DRAINING_LIFE_S: Final = 3600
"""A worker reads at its next heartbeat that it is asked to end; one that has died never does."""


async def list_workers() -> Response:
    """List the workers that were heard of lately, with where they run and what they serve."""
    capacity = gateway().capacity
    await capacity.refresh()
    return json_response({"workers": worker_states(capacity.announcements)})


def worker_states(announcements: Iterable[Announcement]) -> list[dict[str, Any]]:
    """Return workers as the operator sees them, by tier."""
    workers = [
        {
            "id": each.worker_id,
            "tier": each.tier,
            "host": each.host,
            "pid": each.pid,
            "state": "draining" if each.is_draining else "refused" if each.refusal else "working",
            "refusal": each.refusal,
            "running": each.running,
            "slots": sum(backend.slots for backend in each.backends),
            "backends": [place_of_queue(backend.queue) for backend in each.backends],
            "since": datetime.fromtimestamp(each.since_ms / 1000, UTC).isoformat(timespec="seconds"),
        }
        for each in announcements
    ]
    return sorted(workers, key=lambda worker: (str(worker["tier"]), str(worker["id"])))


async def drain_worker(worker_id: str) -> Response:
    """Let a worker take no more jobs and end when what it runs has ended."""
    await drain(gateway().redis, worker_id)
    return json_response({"id": worker_id, "draining": True})


async def drain(redis: Redis, worker_id: str) -> None:
    """Ask a worker to drain; one that drains already goes on.

    Raises:
        NotFound: it does not live.
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    if not _WORKER_ID.fullmatch(worker_id) or not await redis.exists(worker_key(worker_id)):
        raise NotFound("There is no such worker: `nself claw queue workers` names them.")
    await redis.set(draining_key(worker_id), b"1", ex=DRAINING_LIFE_S)
