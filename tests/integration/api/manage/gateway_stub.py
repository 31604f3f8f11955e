"""A small app around the management URLs: the state that api/app.py gives them, and a list of models."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any

from hypercorn.asyncio import serve
from quart import Quart, request

from api.accounting.budget import Budget
from api.admission.auth import Authenticator
from api.admission.key_changes import KeyChanges
from api.app import ADMINS_URLS, MANAGEMENT_URLS
from api.endpoints.manage.guard import guarded_blueprint
from api.gateway import EXTENSION
from api.prompt.admin_context import AdminContext
from api.prompt.survey import Survey
from api.prompt.system_prompts import SystemPrompts
from api.routing.live_backends import Capacity
from api.routing.rules import RoutingTable
from api.server.config import ServerConfig
from shared.postgres.keys import KeyStore, hash_secret
from tests.fleet import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

    from shared.postgres.database import Database
    from shared.settings import Settings


class State:
    """What handlers reach by `gateway()`."""

    def __init__(self, settings: Settings, database: Database, redis: Redis) -> None:
        self.settings = settings
        self.database = database
        self.redis = redis
        self.keys = KeyStore(database)
        self.key_changes = KeyChanges(self.keys, redis)
        self.authenticator = Authenticator(settings, self.keys, self.key_changes.went_back)
        self.routing_table = RoutingTable(database, redis)
        self.system_prompts = SystemPrompts(database)
        self.budget = Budget(settings.monthly_budget_usd, database, redis)
        survey = Survey(
            settings,
            database=database,
            redis=redis,
            capacity=Capacity(redis),
            routing_table=self.routing_table,
            budget=self.budget,
        )
        self.admin_context = AdminContext(survey, redis)


def management_app(settings: Settings, database: Database, redis: Redis) -> Quart:
    """Return the app."""
    app = Quart("gateway_stub")
    state = app.extensions[EXTENSION] = State(settings, database, redis)
    app.register_blueprint(guarded_blueprint(MANAGEMENT_URLS, of_admins=ADMINS_URLS))

    @app.get("/v1/models")
    async def models() -> Any:
        secret = request.headers.get("authorization", "").removeprefix("Bearer ")
        internal = request.headers.get("x-internal-token") == settings.internal_secret
        if not internal and await state.keys.find_by_hash(hash_secret(secret)) is None:
            return {"error": {"message": "Incorrect API key provided.", "type": "invalid_request_error"}}, 401
        return {"object": "list", "data": [{"id": "auto"}, {"id": "smollm2"}]}, 200, {"x-request-id": "req_1"}

    return app


@contextlib.asynccontextmanager
async def served(app: Quart) -> AsyncIterator[str]:
    """Yield the app on Hypercorn; yields its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = ServerConfig()
    config.bind = [f"fd://{listener.fileno()}"]
    config.errorlog = None
    stop = asyncio.Event()
    ready = asyncio.Event()

    @app.before_serving
    async def say_ready() -> None:
        ready.set()

    task = asyncio.create_task(serve(app, config, shutdown_trigger=stop.wait))
    try:
        await asyncio.wait_for(ready.wait(), PATIENCE_S)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stop.set()
        await task
        listener.detach()
