"""GET /health (this process lives) and GET /ready (requests can be served)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import current_app

from api.gateway import Gateway, gateway
from api.http.body import json_response
from shared.postgres.database import DatabaseUnavailable
from shared.redis.client import UNREACHABLE

if TYPE_CHECKING:
    from quart import Response


async def health() -> Response:
    """Say that this process answers; always 200."""
    return json_response({"status": "ok", "base_url": gateway().settings.public_url})


async def ready() -> Response:
    """Answer 200 when Redis, PostgreSQL and a worker with models are there, else 503.

    Once all were, a missing PostgreSQL is only "degraded": cached keys go on working.
    """
    readiness: Readiness = current_app.extensions.setdefault("readiness", Readiness(gateway()))
    status, parts = await readiness.check()
    is_served = status in {"ready", "degraded"}
    return json_response({"status": status, **parts}, 200 if is_served else 503)


class Readiness:
    """Tells whether one api process can serve requests, and what it lacks.

    Args:
        parts: the process.
    """

    def __init__(self, parts: Gateway) -> None:
        self._parts = parts
        self._was_ready = False

    async def check(self) -> tuple[str, dict[str, str]]:
        """Return `ready`, `degraded`, `not ready` or `draining`, and for each part `ok` or `missing`."""
        is_there = {
            "redis": await self._redis_answers(),
            "postgres": await self._postgres_answers(),
            "models": bool(self._parts.capacity.models()),
        }
        missing = [name for name, there in is_there.items() if not there]
        parts = {name: "ok" if there else "missing" for name, there in is_there.items()}
        self._was_ready = self._was_ready or not missing
        if self._parts.draining:
            return "draining", parts
        if not missing:
            return "ready", parts
        return ("degraded" if missing == ["postgres"] and self._was_ready else "not ready"), parts

    async def _redis_answers(self) -> bool:
        try:
            await self._parts.redis.ping()
        except UNREACHABLE:
            return False
        return self._parts.relay.connected

    async def _postgres_answers(self) -> bool:
        if not self._parts.database_is_set_up:
            return False
        try:
            await self._parts.database.ping()
        except DatabaseUnavailable:
            return False
        return True
