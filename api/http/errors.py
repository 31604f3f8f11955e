"""The one way out for errors: what an exception means for the caller, and how the response says it."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any, Final

from quart import g, request
from redis.exceptions import ResponseError
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge

from api.http.body import json_response
from shared import errors
from shared.errors import BudgetSpent, GatewayError, Overloaded, Unauthenticated
from shared.postgres.database import UNSTORABLE, DatabaseUnavailable
from shared.redis.client import UNREACHABLE

if TYPE_CHECKING:
    from quart import Response

NSELF_PREFIXES = ("/claw/", "/ai/", "/accounts", "/credentials/", "/internal/")
"""Beginnings of the URLs that nSelf's clients ask for."""
_log = logging.getLogger(__name__)


def from_exception(error: Exception) -> GatewayError:
    """Return what an exception that left a handler means for the caller; a fault of ours is logged, its text hidden."""
    found = _from_exception(error)
    # Not the error: it keeps the frames that it came through, and a timer of a pool may keep `g` for minutes.
    g.failure = f"{found.status} {found.code or found.type}"
    return found


def _from_exception(error: Exception) -> GatewayError:
    if isinstance(error, GatewayError):
        return error
    if (found := _from_server(error)) is not None:
        return found
    if isinstance(error, HTTPException) and error.code is not None and error.code < 500:
        return _from_framework(error)
    _log.error("request %s failed", g.request_id, exc_info=error)
    return errors.InternalFault(f"The gateway failed on this request (request id req_{g.request_id}).")


def _from_server(error: Exception) -> GatewayError | None:
    """Return what an error of PostgreSQL or Redis means; None where it is none of theirs."""
    if isinstance(error, DatabaseUnavailable):
        text = f"The gateway's database {error.public}. Try again."
        return Overloaded(text, code="database_unavailable", retry_after_s=2)
    if isinstance(error, UNSTORABLE):
        return errors.InvalidRequest("A text of the request has a NUL character, which cannot be stored or looked for.")
    if isinstance(error, ResponseError):
        # Before UNREACHABLE: an answer, though not the one that was wanted.
        return Overloaded("Redis refuses this: see the log and /ready.", code="queue_refused", retry_after_s=2)
    if isinstance(error, UNREACHABLE):
        return Overloaded("Redis is unavailable. Try again.", code="queue_unavailable", retry_after_s=2)
    return None


NOT_SERVED: Final = frozenset({"/v1/responses/compact", "/v1/responses/input_tokens"})
"""URLs of OpenAI's that are not here, and that the table of URLs takes for a response's."""


def _from_framework(error: HTTPException) -> GatewayError:
    if isinstance(error, MethodNotAllowed) and request.path not in NOT_SERVED:
        wrong_method = errors.MethodNotAllowed(f"{request.method} is not allowed here.")
        wrong_method.allowed = error.valid_methods or ()
        return wrong_method
    if isinstance(error, RequestEntityTooLarge):
        limit_mib = (request.max_content_length or 0) // (1024 * 1024)
        return errors.BodyTooLarge(f"The request body is larger than {limit_mib} MiB.")
    if error.code == 404 or request.path in NOT_SERVED:
        text = f"Unknown request URL: {request.method} {request.path}."
        if request.path.startswith(NSELF_PREFIXES):
            text += " This gateway does not serve it; docs/compatibility.md says what of nSelf's it does."
        return errors.NotFound(text)
    return errors.InvalidRequest(error.description or "The request cannot be understood.")


def error_object(error: GatewayError) -> dict[str, Any]:
    """Return OpenAI's error object (schema Error)."""
    return {"message": error.message, "type": error.type, "param": error.param, "code": error.code}


def openai_error(exception: Exception) -> Response:
    """Return OpenAI's ErrorResponse for an exception that left a handler."""
    error = from_exception(exception)
    response = _response(error, error_object(error))
    if isinstance(error, BudgetSpent) and error.retry_after_s is None:
        # OpenAI's own clients try a 429 again unless they are told that it is of no use.
        response.headers["x-should-retry"] = "false"
    if isinstance(error, Unauthenticated):
        # RFC 9110, section 11.6.1, wants it with every 401.
        response.headers["www-authenticate"] = "Bearer"
    return response


def plain_error(exception: Exception) -> Response:
    """Return nSelf's form, `{"error": "text"}`, for an exception that left a handler."""
    error = from_exception(exception)
    return _response(error, error.message)


def _response(error: GatewayError, shown: object) -> Response:
    """Return a response with Retry-After where a new try makes sense."""
    response = json_response({"error": shown}, error.status)
    if error.retry_after_s is not None:
        # RFC 9110, section 10.2.3: whole seconds. With 0 clients would come back at once.
        response.headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
    if isinstance(error, errors.MethodNotAllowed):
        # RFC 9110, section 15.5.6, wants it with every 405.
        response.headers["allow"] = ", ".join(error.allowed)
    return response
