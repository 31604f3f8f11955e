"""The api as an application: its URLs, and what all of them share. Nothing runs at import."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from quart import Quart, Response, g, request

from api.endpoints.chat import create_chat_completion
from api.endpoints.embeddings import create_embedding
from api.endpoints.health import READINESS, Readiness, health, ready
from api.endpoints.keys.records import erase_key, export_key
from api.endpoints.knowledge.documents import list_documents, put_document, remove_document
from api.endpoints.knowledge.notes import add_note, list_notes, remove_note
from api.endpoints.knowledge.search import list_categories, search_knowledge, show_rankings, show_version
from api.endpoints.manage.admin import (
    list_audit,
    query_database,
    refresh_snapshot,
    restart_service,
    show_context,
    show_metrics,
    show_status,
)
from api.endpoints.manage.budget import show_budget
from api.endpoints.manage.gemini_accounts import add_account, change_account, list_accounts, remove_account
from api.endpoints.manage.guard import PREFIXES, guarded_blueprint
from api.endpoints.manage.keys import change_key, create_key, list_keys, revoke_key, rotate_key
from api.endpoints.manage.ollama_models import install_model, list_local_models, remove_model
from api.endpoints.manage.routing import change_routing, show_routing
from api.endpoints.manage.sessions.changes import branch_session, change_session, delete_session, set_mode
from api.endpoints.manage.sessions.export import export_session
from api.endpoints.manage.sessions.listing import list_messages, list_sessions, search_sessions
from api.endpoints.manage.system_prompts import change_prompt, create_prompt, list_prompts, remove_prompt
from api.endpoints.manage.unsupported import list_unsupported
from api.endpoints.manage.usage import list_usage
from api.endpoints.models import list_models, list_offered, retrieve_model
from api.endpoints.nself.chat import ask_ai, create_claw_completion
from api.endpoints.nself.status import bootstrap_key, claw_health
from api.endpoints.nself.usage import list_ai_usage, show_ai_stats, summarize_ai_usage
from api.endpoints.own_requests import cancel_own_request, list_own_requests, retrieve_own_request
from api.endpoints.queue.backends import list_backends, pause_backend, resume_backend
from api.endpoints.queue.cancelling import cancel_request
from api.endpoints.queue.requests import list_requests, show_request
from api.endpoints.queue.workers import drain_worker, list_workers
from api.endpoints.responses import create_response
from api.endpoints.stored.conversations import (
    add_conversation_items,
    create_conversation,
    delete_conversation,
    delete_conversation_item,
    list_conversation_items,
    retrieve_conversation,
    retrieve_conversation_item,
    update_conversation,
)
from api.endpoints.stored.responses import cancel_response, delete_response, list_input_items, retrieve_response
from api.endpoints.web_ui import set_web_password, show_web_ui
from api.gateway import EXTENSION, Gateway
from api.http import cors
from api.http.body import BODY_TIMEOUT_S
from api.http.errors import openai_error, plain_error
from api.http.intake import BodyBudget, Intakes
from api.http.refusal_log import RefusalLog
from api.server.asgi import Connections
from api.server.hypercorn_server import abort_behind
from api.server.proxies import TrustedProxies
from api.server.quart_task import RequestInTask, TaskConnection
from shared.ids import new_request_id
from shared.process.finished import log_finished
from shared.process.log import REQUEST_ID
from shared.process.tracing.start import start_tracing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from api.endpoints.metrics import ApiMetrics
    from shared.process.tracing.tracer import Tracing
    from shared.settings import Settings

    Url = tuple[str, str, Callable[..., Awaitable[Response]]]

URLS: Final[tuple[Url, ...]] = (
    ("POST", "/v1/chat/completions", create_chat_completion),
    ("POST", "/v1/responses", create_response),
    ("GET", "/v1/responses/<response_id>", retrieve_response),
    ("DELETE", "/v1/responses/<response_id>", delete_response),
    ("POST", "/v1/responses/<response_id>/cancel", cancel_response),
    ("GET", "/v1/responses/<response_id>/input_items", list_input_items),
    ("POST", "/v1/conversations", create_conversation),
    ("GET", "/v1/conversations/<conversation_id>", retrieve_conversation),
    ("POST", "/v1/conversations/<conversation_id>", update_conversation),
    ("DELETE", "/v1/conversations/<conversation_id>", delete_conversation),
    ("GET", "/v1/conversations/<conversation_id>/items", list_conversation_items),
    ("POST", "/v1/conversations/<conversation_id>/items", add_conversation_items),
    ("GET", "/v1/conversations/<conversation_id>/items/<item_id>", retrieve_conversation_item),
    ("DELETE", "/v1/conversations/<conversation_id>/items/<item_id>", delete_conversation_item),
    ("POST", "/v1/embeddings", create_embedding),
    ("GET", "/v1/models", list_models),
    ("GET", "/v1/models/<path:model>", retrieve_model),
    ("GET", "/v1/requests", list_own_requests),
    ("GET", "/v1/requests/<path:request_id>", retrieve_own_request),
    ("DELETE", "/v1/requests/<path:request_id>", cancel_own_request),
    ("GET", "/health", health),
    ("GET", "/ready", ready),
)
KEY_URLS: Final[tuple[Url, ...]] = (
    ("GET", "/claw/health", claw_health),
    ("POST", "/claw/v1/api-keys/bootstrap", bootstrap_key),
    ("POST", "/claw/v1/chat/completions", create_claw_completion),
)
"""Below the management API's prefix, for clients with a key or none."""
UI_ROOT: Final = "/ui"
METRICS: Final = "claw.metrics"
OPENAI_PATHS: Final = frozenset({"/claw/v1/chat/completions"})
"""Beside the management API's, for clients of OpenAI's form."""
STATE_PATHS: Final = frozenset({"/health", "/ready"})
MANAGEMENT_URLS: Final[tuple[Url, ...]] = (
    ("PATCH", "/claw/v1/api-keys/<key_id>", change_key),
    ("POST", "/claw/v1/api-keys/<key_id>/rotate", rotate_key),
    ("GET", "/claw/v1/api-keys/<key_id>/export", export_key),
    ("POST", "/claw/v1/api-keys/<key_id>/erase", erase_key),
    ("GET", "/claw/v1/usage", list_usage),
    ("GET", "/claw/v1/budget", show_budget),
    ("GET", "/claw/v1/offered-models", list_offered),
    ("GET", "/claw/v1/models/unsupported", list_unsupported),
    ("GET", "/claw/v1/system-prompts", list_prompts),
    ("POST", "/claw/v1/system-prompts", create_prompt),
    ("PUT", "/claw/v1/system-prompts/<prompt_id>", change_prompt),
    ("DELETE", "/claw/v1/system-prompts/<prompt_id>", remove_prompt),
    ("GET", "/claw/knowledge/rankings", show_rankings),
    ("GET", "/claw/knowledge/notes", list_notes),
    ("POST", "/claw/knowledge/notes", add_note),
    ("DELETE", "/claw/knowledge/notes/<note_id>", remove_note),
    ("GET", "/claw/knowledge/documents", list_documents),
    ("POST", "/claw/knowledge/documents", put_document),
    ("DELETE", "/claw/knowledge/documents/<document_id>", remove_document),
    ("GET", "/claw/sessions", list_sessions),
    ("GET", "/claw/sessions/search", search_sessions),
    ("PATCH", "/claw/sessions/<session_id>", change_session),
    ("DELETE", "/claw/sessions/<session_id>", delete_session),
    ("GET", "/claw/sessions/<session_id>/messages", list_messages),
    ("POST", "/claw/sessions/<session_id>/branch", branch_session),
    ("GET", "/claw/sessions/<session_id>/export", export_session),
    ("GET", "/claw/queue", list_backends),
    ("POST", "/claw/queue/pause", pause_backend),
    ("POST", "/claw/queue/resume", resume_backend),
    ("GET", "/claw/queue/requests", list_requests),
    ("GET", "/claw/queue/requests/<request_id>", show_request),
    ("DELETE", "/claw/queue/requests/<request_id>", cancel_request),
    ("GET", "/claw/queue/workers", list_workers),
    ("POST", "/claw/queue/workers/<worker_id>/drain", drain_worker),
    ("GET", "/claw/admin/audit-log", list_audit),
    ("GET", "/claw/admin/status", show_status),
    ("GET", "/claw/admin/metrics", show_metrics),
    ("GET", "/claw/admin/context", show_context),
    ("POST", "/claw/admin/refresh", refresh_snapshot),
    ("POST", "/claw/admin/mode", set_mode),
    ("POST", "/claw/admin/db-query", query_database),
    ("POST", "/claw/admin/services/<name>/restart", restart_service),
    ("GET", "/ai/usage", list_ai_usage),
    ("GET", "/ai/usage/summary", summarize_ai_usage),
    ("GET", "/ai/stats/summary", show_ai_stats),
    ("GET", "/claw/ui", show_web_ui),
    ("PUT", "/claw/ui/password", set_web_password),
    ("GET", "/ai/gemini/accounts", list_accounts),
    ("POST", "/ai/gemini/accounts", add_account),
    ("PATCH", "/ai/gemini/accounts/<name>", change_account),
    ("DELETE", "/ai/gemini/accounts/<name>", remove_account),
    ("GET", "/ai/models/local", list_local_models),
    ("POST", "/ai/models/local/install", install_model),
    ("DELETE", "/ai/models/local/remove/<path:name>", remove_model),
    ("GET", "/ai/routing/config", show_routing),
    ("PUT", "/ai/routing/config", change_routing),
)
"""Behind the internal token."""
ADMINS_URLS: Final[tuple[Url, ...]] = (
    ("GET", "/claw/v1/api-keys", list_keys),
    ("POST", "/claw/v1/api-keys", create_key),
    ("DELETE", "/claw/v1/api-keys/<key_id>", revoke_key),
)
"""Behind it, or a key with `admin_allowed`."""
READABLE_URLS: Final[tuple[Url, ...]] = (
    ("GET", "/claw/knowledge/search", search_knowledge),
    ("GET", "/claw/knowledge/categories", list_categories),
    ("GET", "/claw/knowledge/version", show_version),
)
"""Behind it too, but for what the gateway brings itself, read from this machine (`knowledge/access.py`)."""


QUESTION_URLS: Final[tuple[Url, ...]] = (("POST", "/ai/chat", ask_ai),)
"""Behind it too, and no change that the audit log has."""


def create_app(settings: Settings) -> Quart:
    """Return the api as an ASGI application; its gateway is made and started with it."""
    app = Quart("api", static_folder=None)  # else Quart adds a URL of its own, /static
    intakes = Intakes(app.asgi_app, BodyBudget(settings.max_bodies_bytes), settings.max_body_bytes)
    app.asgi_app = Connections(intakes, abort_behind)  # type: ignore[method-assign]  # Quart's way to add middleware
    if settings.trusted_proxies:
        app.asgi_app = TrustedProxies(app.asgi_app, settings.trusted_proxies)  # type: ignore[method-assign]  # Quart's way to add middleware
    app.asgi_http_class = TaskConnection
    app.request_class = RequestInTask
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.config["BODY_TIMEOUT"] = BODY_TIMEOUT_S
    # Bodies are bounded in bytes and time; answers by their attempts, which may well take longer than Quart's 60 s.
    app.config["RESPONSE_TIMEOUT"] = None
    # Preflights are answered before a URL is looked for; an OPTIONS of another kind is a 405 like any wrong method.
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    _add_urls(app)
    if settings.ui:
        _add_ui(app, settings)
    _add_lifespan(app, settings)
    _add_headers(app, settings)
    if (tracing := start_tracing(settings.tracing, "api")) is not None:
        _add_tracing(app, tracing)
    return app


def is_of_ui(path: str) -> bool:
    """Return whether a path is the web UI's, which has cookies: pages of other origins never read it."""
    return path.startswith(UI_ROOT) and path[len(UI_ROOT) : len(UI_ROOT) + 1] in {"", "/"}


def _add_urls(app: Quart) -> None:
    """Let the app answer every URL of the tables, and every failure in the form of its URL."""
    for method, url, handler in (*URLS, *KEY_URLS):
        app.add_url_rule(url, view_func=handler, methods=[method])
    app.register_blueprint(guarded_blueprint(MANAGEMENT_URLS, READABLE_URLS, ADMINS_URLS, QUESTION_URLS))

    @app.errorhandler(Exception)
    async def answer_failure(error: Exception) -> Response:
        # A URL or method that is in no table belongs to no blueprint.
        is_plain = request.path.startswith(PREFIXES) and request.path not in OPENAI_PATHS
        return plain_error(error) if is_plain else openai_error(error)


def _add_ui(app: Quart, settings: Settings) -> None:
    # Only here: an api without the UI does not load what pages need.
    from api.ui.blueprint import add_ui  # noqa: PLC0415 -- see above

    add_ui(app, settings)


def _add_lifespan(app: Quart, settings: Settings) -> None:
    @app.before_serving
    async def start() -> None:
        metrics = app.extensions[METRICS] = None if settings.metrics_port is None else _metrics(settings)
        gateway = app.extensions[EXTENSION] = Gateway(settings, metrics.finished if metrics else log_finished)
        await gateway.start()
        readiness = app.extensions[READINESS] = Readiness(gateway)
        readiness.start()
        if metrics is not None:
            metrics.start(gateway, readiness)

    @app.after_serving
    async def stop() -> None:
        if (metrics := app.extensions[METRICS]) is not None:
            await metrics.stop()
        await app.extensions[READINESS].stop()
        await app.extensions[EXTENSION].stop()


def _metrics(settings: Settings) -> ApiMetrics:
    # Only here: a process without metrics does not pay for what they need.
    from api.endpoints.metrics import ApiMetrics  # noqa: PLC0415 -- see above

    return ApiMetrics(settings)


def _add_tracing(app: Quart, tracing: Tracing) -> None:
    # Only here: what it imports is OpenTelemetry's.
    from api.http.tracing import add_tracing  # noqa: PLC0415 -- see above

    add_tracing(app, tracing)


def _add_headers(app: Quart, settings: Settings) -> None:
    refusals = RefusalLog()

    @app.before_request
    async def before() -> Response | None:
        g.request_id = new_request_id()
        # What a question after the gateway's state finds out is about no request.
        if request.path not in STATE_PATHS:
            REQUEST_ID.set(g.request_id)
        is_preflight = request.method == "OPTIONS" and "access-control-request-method" in request.headers
        if is_preflight and not is_of_ui(request.path):
            return cors.preflight(request.headers)
        return None

    @app.after_request
    async def after(response: Response) -> Response:
        refusals.response_ends()
        response.headers["x-request-id"] = "req_" + g.request_id
        origin = cors.allowed_origin(request.headers.get("origin"), settings.cors_origins)
        if origin is not None and not is_of_ui(request.path):
            cors.allow(response, origin)
        return response
