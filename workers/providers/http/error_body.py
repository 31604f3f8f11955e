"""Reads what an upstream says of a failure: error bodies, error events and Retry-After. Pure but for the clock.

Sources: OpenAI's OpenAPI document (ErrorResponse); llama.cpp's server (`format_error_response`: a numeric `code`,
the kind in `type`); vLLM (`{"object": "error", ...}`, later `{"error": ...}`); FastAPI (`{"detail": [{"loc": ...}]}`);
Ollama (`{"error": "text"}`); Google (a list of one error), MiniMax (`base_resp`), Cloudflare (`errors`);
OpenAI's and Anthropic's pages on errors and spend limits (`details.error_code`); OpenRouter's on errors (`metadata`);
RFC 9110, section 10.2.3 (Retry-After).
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec

from shared.errors import (
    GatewayError,
    InvalidRequest,
    Malformed,
    ParameterUnsupported,
    Rejected,
    StreamBroken,
    Unavailable,
    Unsupported,
    classify,
)
from workers.providers.http.usage_report import to_count
from workers.providers.replies.json_reader import read_any
from workers.reasons import masked

MAX_MESSAGE_CHARS = 2000
# These wait for the operator or the next month, not for Retry-After.
_SPENT: Final = frozenset({
    "credit_balance_exhausted", "enforced_spend_limit_reached", "insufficient_quota",
    "organization_spend_limit_exceeded", "organization_usage_limit_exceeded", "project_spend_limit_exceeded",
})  # fmt: skip
_UNSUPPORTED: Final = frozenset({"unsupported_parameter", "unsupported_value", "unknown_parameter", "extra_forbidden"})
"""OpenAI's words for it, and pydantic's (Mistral, vLLM)."""
FLAGGED: Final = "content_policy_violation"
_OF_CONTENT: Final = frozenset({FLAGGED, "content_filter", "refusal"})
"""With status 403: what a client wrote is at fault, and not the credential that it was sent with."""
_OF_MODERATION: Final = ("flagged_input", "reasons")
TEMPLATE_REFUSES: Final = "Jinja Exception:"
_NO_FAILURE: Final = (0, "0", 200, "200")
_WRAPPERS: Final = ("error", "errors", "base_resp")
_MOST_WRAPPERS: Final = 3
_MESSAGES: Final = ("message", "msg", "error_message", "error_msg", "status_msg", "detail")
_STATUSES: Final = ("code", "status", "status_code", "http_status")
_GENERIC_CODES = {"invalid_request_error", "BadRequestError", "error"}


class Report(msgspec.Struct, frozen=True):
    """An upstream's account of a failure, in whatever form it came.

    Args:
        message: its text; empty if there is none.
        code: its machine-readable code, else its type where that says more than "bad request".
        param: the parameter that it blames, in its own notation.
        status: an HTTP status that stands in the body itself.
    """

    message: str = ""
    code: str | None = None
    param: str | None = None
    status: int | None = None

    def is_about(self, parameter: str) -> bool:
        """Return whether the failure is about `parameter`: by its structured place, else by its name in the text."""
        return parameter in (self.param or "") or parameter in self.message


def from_error_body(body: bytes) -> Report:
    """Return what the body of a failed reply says; an empty report if it is not JSON."""
    try:
        decoded = read_any(body)
    except Malformed:
        return Report()
    return from_error(decoded)


def is_failure(error: Any) -> bool:
    """Return whether a field `error` says that there is one: some servers have it in sound answers, as the code 0."""
    if not isinstance(error, dict):
        return bool(error)
    return any(error.values()) and error.get("code") not in _NO_FAILURE


def from_error(error: Any) -> Report:
    """Return what an error value says: an object, in whatever it is wrapped, or a bare text."""
    for _ in range(_MOST_WRAPPERS):
        if isinstance(error, list):
            error = next(iter(error), None)
        elif isinstance(error, dict):
            error = next((error[name] for name in _WRAPPERS if error.get(name)), error)
    if isinstance(error, str):
        return Report(message=error[:MAX_MESSAGE_CHARS])
    if not isinstance(error, dict):
        return Report()
    message = next((error[name] for name in _MESSAGES if error.get(name)), "")
    param, kind = error.get("param"), None
    if not isinstance(message, str):
        message, param, kind = _from_validation(message, param)
    details, metadata = error.get("details"), error.get("metadata")
    detailed = details.get("error_code") if isinstance(details, dict) else None
    if isinstance(metadata, dict) and any(metadata.get(name) for name in _OF_MODERATION):
        detailed = FLAGGED
    # The most particular first: `type` often says no more than "bad request".
    codes = [code for code in (detailed, kind, error.get("code"), error.get("type")) if isinstance(code, str)]
    statuses = [to_count(error.get(name)) for name in _STATUSES]
    return Report(
        message=message[:MAX_MESSAGE_CHARS],
        code=next((code for code in codes if code and code not in _GENERIC_CODES), None),
        param=param if isinstance(param, str) else None,
        status=next((status for status in statuses if status is not None and 400 <= status < 600), None),
    )


def _from_validation(detail: Any, param: Any) -> tuple[str, Any, Any]:
    """Return the text, the place and the kind of the first of pydantic's errors."""
    if isinstance(detail, dict):
        detail = detail.get("detail", detail)
    if isinstance(detail, str):
        return detail, param, None
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):
        steps = [str(step) for step in detail[0].get("loc") or () if step != "body"]
        return str(detail[0].get("msg", "")), ".".join(steps) or param, detail[0].get("type")
    return "", param, None


def http_failure(status: int, report: Report, retry_after_s: float | None) -> GatewayError:
    """Return the error for a reply with a status other than 2xx."""
    message = report.message or "The model server refused the request."
    # Before the status: all of these come as a 429, and no Retry-After helps against them.
    if report.code in _SPENT:
        return Rejected("The model server refused the gateway's credential: its account may not spend more.")
    if status == 403 and report.code in _OF_CONTENT:
        return InvalidRequest(message, param="messages", code=report.code)
    if report.code in _UNSUPPORTED and report.param and status in {400, 422}:
        return ParameterUnsupported(message, param=report.param, code=report.code)
    if report.code == "not_supported_error":  # llama.cpp's, with status 501: what it was not started or built for
        return Unsupported(message, param=report.param, code="unsupported_parameter")
    return classify(status, report.code, message, param=report.param, retry_after_s=retry_after_s)


def template_failure(report: Report) -> Unsupported | None:
    """Return the error where the model's chat template rejects a conversation; None for everything else.

    llama.cpp, and Ollama on it, have status 500 and `server_error` for that, as if they had failed.
    """
    _, found, reason = report.message.rpartition(TEMPLATE_REFUSES)
    if not found:
        return None
    # Ollama puts llama.cpp's error body into its own text.
    reason = re.split(r'["\\]', reason)[0].strip()
    return Unsupported(f"The model's chat template does not take this conversation: {reason}", param="messages")


def stream_failure(report: Report, *, after_content: bool) -> GatewayError:
    """Return the error for an error event inside a reply with status 200."""
    failure: GatewayError = Unavailable("The model server reported an error instead of an answer.", code=report.code)
    if after_content:
        failure = StreamBroken("The model server reported an error in the middle of its answer.")
    elif report.status is not None or report.code in {"context_length_exceeded", "exceed_context_size_error"}:
        failure = http_failure(report.status or 400, report, None)
    failure.reason = masked(report.message or report.code or "")
    return failure


def retry_after_s(value: str | None) -> float | None:
    """Return the seconds that a Retry-After header (seconds or an HTTP date) asks for; None if unreadable."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
        except ValueError:
            return None
        if when.tzinfo is None:
            # A date without a zone: HTTP dates are GMT.
            when = when.replace(tzinfo=UTC)
        seconds = (when - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None
