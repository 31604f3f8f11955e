"""GET /health (this process lives) and GET /ready (requests can be served)."""

from __future__ import annotations

import msgspec
from quart import Blueprint, Response, current_app

from api.gateway import Gateway
from shared.postgres.database import DatabaseUnavailable
from shared.redis.client import UNREACHABLE

health_blueprint = Blueprint("health", __name__)


@health_blueprint.get("/health")
async def health() -> Response:
    """Whether this process answers; always 200."""
    gateway: Gateway = current_app.extensions["claw"]
    return _json({"status": "ok", "base_url": gateway.settings.public_url}, 200)


@health_blueprint.get("/ready")
async def ready() -> Response:
    """200 when Redis, PostgreSQL and a worker with models are there.

    Once all were, a missing PostgreSQL is only "degraded": cached keys go on working.
    """
    gateway: Gateway = current_app.extensions["claw"]
    parts = {
        "redis": await _redis_answers(gateway),
        "postgres": await _postgres_answers(gateway),
        "models": bool(gateway.capacity.models()),
    }
    missing = [name for name, is_there in parts.items() if not is_there]
    if not missing:
        gateway.was_ready = True
    words = {name: "ok" if is_there else "missing" for name, is_there in parts.items()}
    if gateway.draining:
        return _json({"status": "draining", **words}, 503)
    if not missing:
        return _json({"status": "ready", **words}, 200)
    if missing == ["postgres"] and gateway.was_ready:
        return _json({"status": "degraded", **words}, 200)
    return _json({"status": "not ready", **words}, 503)


async def _redis_answers(gateway: Gateway) -> bool:
    try:
        await gateway.redis.ping()
    except UNREACHABLE:
        return False
    return gateway.relay.connected


async def _postgres_answers(gateway: Gateway) -> bool:
    if not gateway.migrated:
        return False
    try:
        await gateway.database.ping()
    except DatabaseUnavailable:
        return False
    return True


def _json(body: dict[str, str], status: int) -> Response:
    return Response(msgspec.json.encode(body), status=status, content_type="application/json")
