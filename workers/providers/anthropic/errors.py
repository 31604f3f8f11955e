"""Anthropic's failures among the gateway's errors. Pure.

Source: Anthropic's errors page (HTTP errors, error shapes; errors inside a stream after a 200).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from shared.errors import ContextTooLong, GatewayError, InvalidRequest, Rejected
from workers.providers.http.error_body import Report, from_error, stream_failure

_STATUS_OF: Final = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


def from_event(error: Any, *, after_content: bool) -> GatewayError:
    """Return the error for an `error` event: before any content as its HTTP status would be classed."""
    report = from_error(error)
    kind = error.get("type") if isinstance(error, dict) else None
    report = msgspec.structs.replace(report, status=_STATUS_OF.get(kind) if isinstance(kind, str) else None)
    failure = stream_failure(report, after_content=after_content)
    return failure if after_content else from_status_error(failure, report)


def from_status_error(failure: GatewayError, report: Report) -> GatewayError:
    """Return the error for a failure status: as classified, but for what Anthropic has no code of its own for.

    A prompt that is too long and an account that may not spend are `invalid_request_error` like any mistake of the
    caller; only the text tells them apart. This is the one place that knows those texts; a new wording makes it a
    plain InvalidRequest.
    """
    if not isinstance(failure, InvalidRequest):
        return failure
    if any(phrase in report.message for phrase in ("prompt is too long", "exceed context limit")):
        return ContextTooLong(report.message)
    if any(phrase in report.message for phrase in ("credit balance is too low", "specified API usage limits")):
        return Rejected("The model server refused the gateway's credential: its account may not spend more.")
    return failure
