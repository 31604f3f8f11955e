"""Errors as clients see them: the one way out."""

from __future__ import annotations

import math
from typing import Any

import msgspec
from quart import Response, request

from shared.errors import BudgetSpent, GatewayError, Unauthenticated


def error_object(error: GatewayError) -> dict[str, Any]:
    """OpenAI's error object (schema Error)."""
    return {"message": error.message, "type": error.type, "param": error.param, "code": error.code}


def error_response(error: GatewayError) -> Response:
    """OpenAI's ErrorResponse, with Retry-After where a new try makes sense; under /claw and /ai, nSelf's plain form."""
    told = error.message if request.path.startswith(("/claw/", "/ai/")) else error_object(error)
    response = Response(msgspec.json.encode({"error": told}), status=error.status, content_type="application/json")
    if error.retry_after_s is not None:
        response.headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
    if isinstance(error, BudgetSpent) and error.retry_after_s is None:
        # OpenAI's own clients try a 429 again unless they are told that it is of no use.
        response.headers["x-should-retry"] = "false"
    if isinstance(error, Unauthenticated):
        response.headers["www-authenticate"] = "Bearer"
    return response
