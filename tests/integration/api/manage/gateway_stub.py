"""A small app around the management blueprints: the state that api/app.py gives them, and a list of models."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart, Response, request

from api.accounting.budget import Budget
from api.endpoints.manage.budget import budget_blueprint
from api.endpoints.manage.gemini_accounts import gemini_blueprint
from api.endpoints.manage.keys import keys_blueprint
from api.endpoints.manage.routing import routing_blueprint
from api.endpoints.manage.usage import usage_blueprint
from api.routing.rules import RoutingTable
from shared.postgres.keys import KeyStore, hash_secret

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

    from shared.postgres.database import Database
    from shared.postgres.keys import ApiKey, KeyChange
    from shared.settings import Settings


class State:
    """What handlers reach by `current_app.extensions["claw"]`."""

    def __init__(self, settings: Settings, database: Database, redis: Redis) -> None:
        self.settings = settings
        self.database = database
        self.redis = redis
        self.keys = KeyStore(database)
        self.routing_table = RoutingTable(database, redis)
        self.budget = Budget(settings.monthly_budget_usd, database, redis)

    async def revoke(self, key_id: str) -> bool:
        """Revoke in the database; the real one tells every process too."""
        return await self.keys.revoke(key_id)

    async def update_key(self, key_id: str, change: KeyChange) -> ApiKey | None:
        """Change in the database; the real one tells every process too."""
        return await self.keys.update(key_id, change)


def management_app(settings: Settings, database: Database, redis: Redis) -> Quart:
    """The app."""
    app = Quart("gateway_stub")
    state = app.extensions["claw"] = State(settings, database, redis)
    app.register_blueprint(keys_blueprint)
    app.register_blueprint(gemini_blueprint)
    app.register_blueprint(usage_blueprint)
    app.register_blueprint(routing_blueprint)
    app.register_blueprint(budget_blueprint)

    @app.get("/v1/models")
    async def models() -> tuple[dict[str, object], int] | Response:
        secret = request.headers.get("authorization", "").removeprefix("Bearer ")
        internal = request.headers.get("x-internal-token") == settings.internal_secret
        if not internal and await state.keys.find_by_hash(hash_secret(secret)) is None:
            return {"error": {"message": "Incorrect API key provided.", "type": "invalid_request_error"}}, 401
        return {"object": "list", "data": [{"id": "auto"}, {"id": "smollm2"}]}, 200

    return app


@contextlib.asynccontextmanager
async def served(app: Quart) -> AsyncIterator[str]:
    """The app on Hypercorn; yields its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.errorlog = None
    stop = asyncio.Event()
    ready = asyncio.Event()

    @app.before_serving
    async def say_ready() -> None:
        ready.set()

    task = asyncio.create_task(serve(app, config, shutdown_trigger=stop.wait))
    try:
        await asyncio.wait_for(ready.wait(), 10)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stop.set()
        await task
        listener.detach()
