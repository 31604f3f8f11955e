"""GET /health (this process lives) and GET /ready (requests can be served)."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from quart import current_app

from api.gateway import SCHEMA_UNCHECKED, Gateway, gateway
from api.http.body import json_response
from shared.postgres.database import DatabaseUnavailable
from shared.process.tasks import end_all, spawn_critical
from shared.redis import probe
from shared.redis.client import UNREACHABLE, state_of

if TYPE_CHECKING:
    from quart import Response


_log = logging.getLogger(__name__)

READINESS: Final = "claw.readiness"
"""The name under which an app keeps its `Readiness`."""
POLL_S: Final = 0.5


async def health() -> Response:
    """Answer 200 always: this process is alive."""
    return json_response({"status": "ok", "base_url": gateway().settings.public_url})


async def ready() -> Response:
    """Answer 200 when Redis, PostgreSQL and a worker with models are there, else 503.

    Once all were, a missing PostgreSQL is only "degraded": cached keys go on working. So is a Redis that does what
    every request needs, but has refused some command within the last minute, and a usage log that is not recorded, as
    long as there is room for it.
    """
    readiness: Readiness = current_app.extensions[READINESS]
    status, lacks = await readiness.check()
    parts = {name: "missing" if why is not None else "ok" for name, why in lacks.items()}
    reasons = {name: why for name, why in lacks.items() if why}
    body = {"status": status, **parts, **({"why": reasons} if reasons else {})}
    return json_response(body, 200 if status in {"ready", "degraded"} else 503)


class Readiness:
    """Tells whether one api process can serve requests, and what it lacks; each change is logged.

    Args:
        parts: the process.
    """

    def __init__(self, parts: Gateway) -> None:
        self._parts = parts
        self._was_ready = False
        self._logged = ""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Check until the process is ready for the first time, so that its log says when."""
        self._task = spawn_critical(self._until_ready(), name="readiness")

    async def stop(self) -> None:
        """Check no more."""
        await end_all(self._task)

    async def _until_ready(self) -> None:
        while not self._was_ready:
            await self.check()
            await asyncio.sleep(POLL_S)

    async def check(self) -> tuple[str, dict[str, str | None]]:
        """Return the status and what each part lacks, as `_look` does; log what has changed."""
        was_ready = self._was_ready
        status, lacks = await self._look()
        missing = ", ".join(f"{name} ({why or 'missing'})" for name, why in lacks.items() if why is not None)
        line = f"{status}: {missing}" if missing else status
        if line != self._logged and status != "draining":  # `Drain` says that itself
            # A start is no failure, however long it takes.
            _log.log(logging.WARNING if was_ready and status != "ready" else logging.INFO, "%s", line)
            self._logged = line
        return status, lacks

    async def _look(self) -> tuple[str, dict[str, str | None]]:
        """Return `ready`, `degraded`, `not ready` or `draining`, and what each part lacks: None where it is there.

        A text may be empty, where nothing is known but that the part is missing.
        """
        lacks: dict[str, str | None] = {
            "redis": await self._redis_lacks(),
            "postgres": await self._postgres_lacks(),
            "models": None if self._parts.capacity.models() else "",
        }
        missing = [name for name, why in lacks.items() if why is not None]
        self._was_ready = self._was_ready or not missing
        if self._parts.draining:
            return "draining", lacks
        backlog = self._parts.usage_backlog
        if fault := state_of(self._parts.redis).fault:
            lacks["redis"] = lacks["redis"] or f"Redis has refused a command: {fault}"
        if of_worker := self._parts.capacity.redis_fault:
            lacks["redis"] = lacks["redis"] or f"A worker can serve nothing: {of_worker}"
        if backlog.fault:
            lacks["usage"] = backlog.fault
        if not missing and not fault and not of_worker and not backlog.fault:
            return "ready", lacks
        may_serve = self._was_ready and missing in ([], ["postgres"]) and not backlog.is_full
        return ("degraded" if may_serve else "not ready"), lacks

    async def _redis_lacks(self) -> str | None:
        try:
            await probe.check(self._parts.redis)
        except probe.RedisUnusable as error:
            return str(error)
        except UNREACHABLE:
            return ""
        return None if self._parts.relay.connected else ""

    async def _postgres_lacks(self) -> str | None:
        if self._parts.schema_failure == SCHEMA_UNCHECKED:
            # At the first start tables are missing until the migration has made them, which is no news.
            return SCHEMA_UNCHECKED
        try:
            await self._parts.database.check()
        except DatabaseUnavailable as error:
            return str(error)
        return self._parts.schema_failure
