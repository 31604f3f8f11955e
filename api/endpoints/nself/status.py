"""/claw/health for a client with a key, and what nSelf's newer command line asks for and does not get here."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

from quart import current_app

from api.endpoints.answer import authenticated_context
from api.endpoints.health import READINESS, Readiness
from api.endpoints.own_requests import logged
from api.gateway import gateway
from api.http.body import json_response
from shared.errors import ModelNotAllowed
from shared.postgres import stats_queries
from shared.postgres.database import DatabaseUnavailable

if TYPE_CHECKING:
    from quart import Response


async def claw_health() -> Response:
    """Return whether requests can be served, by which model first, and how many sessions the key has."""
    context = await authenticated_context("status")
    with logged(context):
        readiness: Readiness = current_app.extensions[READINESS]
        status, _ = await readiness.check()
        is_ok = status in {"ready", "degraded"}
    models = gateway().capacity.models("local") or gateway().capacity.models()
    shown = {
        "status": "ok" if is_ok else status,
        "model": next(iter(sorted(models)), None),
        "version": metadata.version("nself-claw-gateway"),
        # Of nSelf's clients; there is nothing like them here.
        "memory_count": 0,
        "topic_count": 0,
        "session_count": await _sessions_of(context.key_id),
    }
    return json_response(shown, 200 if is_ok else 503)


async def bootstrap_key() -> Response:
    """Refuse a key to who has no credential."""
    raise ModelNotAllowed(
        "This gateway gives no key to who has none: `nself claw api keys create --name NAME`, on the machine of the "
        "gateway, makes one.",
        code="bootstrap_not_allowed",
    )


async def _sessions_of(key_id: str | None) -> int | None:
    """Return how many sessions a key has; None while PostgreSQL does not say."""
    try:
        rows = await gateway().database.fetch(stats_queries.COUNT_SESSIONS, key_id)
    except DatabaseUnavailable:
        return None
    return int(rows[0]["sessions"])
