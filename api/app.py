"""Wiring: `create_app(settings)`. Nothing runs at import."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from quart import Quart, Response, g, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.exceptions import MethodNotAllowed as WrongMethod

from api.endpoints.chat import chat_blueprint
from api.endpoints.embeddings import embeddings_blueprint
from api.endpoints.health import health_blueprint
from api.endpoints.manage.budget import budget_blueprint
from api.endpoints.manage.gemini_accounts import gemini_blueprint
from api.endpoints.manage.keys import keys_blueprint
from api.endpoints.manage.ollama_models import models_store_blueprint
from api.endpoints.manage.routing import routing_blueprint
from api.endpoints.manage.usage import usage_blueprint
from api.endpoints.models import models_blueprint
from api.gateway import Gateway
from api.http import cors
from api.http.body import BODY_TIMEOUT_S
from api.http.errors import error_response
from api.http.sse import route_headers
from api.hypercorn_server import Connections
from shared.errors import (
    BodyTooLarge,
    GatewayError,
    InternalFault,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    Overloaded,
)
from shared.ids import new_request_id
from shared.postgres.database import DatabaseUnavailable

if TYPE_CHECKING:
    from shared.settings import Settings

_log = logging.getLogger(__name__)


def create_app(settings: Settings) -> Quart:
    """The api as an ASGI application; its gateway is `app.extensions["claw"]` and starts with it."""
    app = Quart("api", static_folder=None)
    app.asgi_app = Connections(app.asgi_app)  # type: ignore[method-assign]
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.config["BODY_TIMEOUT"] = BODY_TIMEOUT_S
    app.config["RESPONSE_TIMEOUT"] = None
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    for blueprint in (
        chat_blueprint,
        embeddings_blueprint,
        models_blueprint,
        health_blueprint,
        keys_blueprint,
        gemini_blueprint,
        models_store_blueprint,
        budget_blueprint,
        routing_blueprint,
        usage_blueprint,
    ):
        app.register_blueprint(blueprint)
    _add_lifespan(app, settings)
    _add_errors(app, settings)
    _add_headers(app, settings)
    return app


def _add_lifespan(app: Quart, settings: Settings) -> None:
    @app.before_serving
    async def start() -> None:
        gateway = app.extensions["claw"] = Gateway(settings)
        await gateway.start()

    @app.after_serving
    async def stop() -> None:
        await app.extensions["claw"].stop()


def _add_errors(app: Quart, settings: Settings) -> None:
    @app.errorhandler(GatewayError)
    async def refused(error: GatewayError) -> Response:
        return error_response(error)

    @app.errorhandler(DatabaseUnavailable)
    async def no_database(_: DatabaseUnavailable) -> Response:
        return error_response(Overloaded("The gateway's database does not answer.", retry_after_s=2))

    @app.errorhandler(HTTPException)
    async def by_framework(error: HTTPException) -> Response:
        if isinstance(error, WrongMethod):
            response = error_response(MethodNotAllowed(f"{request.method} is not allowed here."))
            response.headers["allow"] = ", ".join(error.valid_methods or ())
            return response
        if isinstance(error, RequestEntityTooLarge):
            return error_response(BodyTooLarge(f"The request body is larger than {settings.max_body_mib} MiB."))
        if error.code == 404:
            return error_response(NotFound(f"Unknown request URL: {request.method} {request.path}."))
        if error.code is not None and error.code < 500:
            return error_response(InvalidRequest(error.description or "The request cannot be understood."))
        return _fault(error)

    @app.errorhandler(Exception)
    async def fault(error: Exception) -> Response:
        return _fault(error)


def _fault(error: Exception) -> Response:
    _log.error("request %s failed", g.request_id.hex(), exc_info=error)
    return error_response(InternalFault(f"The gateway failed on this request (request id req_{g.request_id.hex()})."))


def _add_headers(app: Quart, settings: Settings) -> None:
    @app.before_request
    async def before() -> Response | None:
        g.request_id = new_request_id()
        g.rate_limit = None
        g.exchange = None
        if request.method == "OPTIONS" and "access-control-request-method" in request.headers:
            return cors.preflight(request.headers)
        return None

    @app.after_request
    async def after(response: Response) -> Response:
        response.headers["x-request-id"] = "req_" + g.request_id.hex()
        if g.rate_limit is not None:
            limit, remaining, reset_s = g.rate_limit
            response.headers["x-ratelimit-limit-requests"] = str(limit)
            response.headers["x-ratelimit-remaining-requests"] = str(remaining)
            response.headers["x-ratelimit-reset-requests"] = f"{reset_s:.3f}s"
        exchange = None if g.exchange is None else g.exchange()
        served_by = None if exchange is None else exchange.served_by
        if served_by is not None:
            response.headers.update(route_headers(served_by))
        origin = cors.allowed_origin(request.headers.get("origin"), settings.cors_origins)
        if origin is not None:
            cors.mark(response, origin)
        return response
