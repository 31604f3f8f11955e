"""Failures of Gemini's API, classed. Pure: no I/O.

Source of the shapes: google.rpc.Status and google/rpc/error_details.proto (ErrorInfo, RetryInfo, QuotaFailure,
BadRequest) as Google's JSON APIs send them; ai.google.dev, "Troubleshooting" (which status means what).
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from shared.errors import (
    ContextTooLong,
    GatewayError,
    Malformed,
    ModelDenied,
    QuotaPeriod,
    Rejected,
    StreamBroken,
    Throttled,
    Unavailable,
)
from workers.providers.http.error_body import MAX_MESSAGE_CHARS, Report, http_failure
from workers.providers.replies.json_reader import read_any
from workers.reasons import masked

# Fields that google.rpc.BadRequest blames, by the parameter of ours that sets them.
_PARAMS = {
    "candidatecount": "n",
    "frequencypenalty": "frequency_penalty",
    "logprobs": "top_logprobs",
    "maxoutputtokens": "max_completion_tokens",
    "presencepenalty": "presence_penalty",
    "responsejsonschema": "response_format",
    "responselogprobs": "logprobs",
    "responsemimetype": "response_format",
    "seed": "seed",
    "stopsequences": "stop",
    "temperature": "temperature",
    "thinkingbudget": "reasoning_effort",
    "thinkinglevel": "reasoning_effort",
    "topk": "top_k",
    "topp": "top_p",
}


class Failure(msgspec.Struct, frozen=True):
    """A google.rpc.Status.

    Args:
        http_status: its `code`.
        status: its canonical code, as in `INVALID_ARGUMENT`.
        message: its text.
        reason: the ErrorInfo's, as in `API_KEY_INVALID`.
        retry_delay_s: the RetryInfo's, in seconds.
        is_quota: whether there is a QuotaFailure.
        period: the longest period that they name.
        limits: the quotas' own values.
        field: the first field that the BadRequest blames.
    """

    http_status: int | None = None
    status: str = ""
    message: str = ""
    reason: str = ""
    retry_delay_s: float | None = None
    is_quota: bool = False
    period: QuotaPeriod = "unknown"
    limits: dict[str, int] = {}
    field: str = ""


def from_body(body: bytes) -> Failure:
    """Return what the body of a failed reply says; an empty failure if it is not google.rpc's."""
    try:
        return from_json(read_any(body))
    except Malformed:
        return Failure()


def from_json(value: Any) -> Failure:
    """Return what `{"error": {...}}` says, also inside a list as the API sends it without `alt=sse`."""
    if isinstance(value, list) and value:
        value = value[0]
    error = value.get("error") if isinstance(value, dict) else None
    if not isinstance(error, dict):
        return Failure(message=error[:MAX_MESSAGE_CHARS] if isinstance(error, str) else "")
    details = _by_kind(error.get("details"))
    violations = _objects(details.get("QuotaFailure", {}).get("violations"))
    fields = _objects(details.get("BadRequest", {}).get("fieldViolations"))
    code = error.get("code")
    return Failure(
        http_status=code if isinstance(code, int) and 400 <= code < 600 else None,
        status=_text(error.get("status")),
        message=_text(error.get("message"))[:MAX_MESSAGE_CHARS],
        reason=_text(details.get("ErrorInfo", {}).get("reason")),
        retry_delay_s=_seconds(details.get("RetryInfo", {}).get("retryDelay")),
        is_quota=bool(violations),
        period=_period(violations),
        limits=_limits(violations),
        field=_text(fields[0].get("field")) if fields else "",
    )


def to_error(http_status: int, failure: Failure, retry_after_s: float | None = None) -> GatewayError:
    """Return the error for a failure.

    Args:
        http_status: the reply's status.
        failure: what its body said.
        retry_after_s: the Retry-After header, in seconds.
    """
    if failure.reason.startswith("API_KEY_") or failure.status == "FAILED_PRECONDITION":
        # FAILED_PRECONDITION: the free tier is not offered where this account is.
        return Rejected("The model server refused the gateway's credential.")
    if (
        http_status == 403
        and failure.status == "PERMISSION_DENIED"
        and not failure.reason
        and not _is_of_account(failure)
    ):
        return ModelDenied("The model server does not let this account use this model.", param="model")
    waits = [wait_s for wait_s in (retry_after_s, failure.retry_delay_s) if wait_s is not None]
    # The later of the two: who comes earlier is rejected again.
    wait_s = max(waits, default=None)
    if http_status == 429 and failure.is_quota:
        spent = Throttled("The model server is at its rate limit.", retry_after_s=wait_s)
        spent.period, spent.limits = failure.period, failure.limits
        return spent
    if http_status == 400 and is_context_error(failure):
        return ContextTooLong(failure.message)
    param = _PARAMS.get(failure.field.rpartition(".")[2].partition("[")[0].replace("_", "").lower())
    return http_failure(http_status, Report(message=failure.message, param=param), wait_s)


def to_stream_error(failure: Failure, *, after_content: bool) -> GatewayError:
    """Return the error for an error inside a reply with status 200."""
    error: GatewayError = Unavailable("The model server reported an error instead of an answer.")
    if after_content:
        error = StreamBroken("The model server reported an error in the middle of its answer.")
    elif failure.http_status is not None:
        error = to_error(failure.http_status, failure)
    error.reason = masked(failure.message)
    return error


def is_context_error(failure: Failure) -> bool:
    """Return whether Gemini says that the prompt is too long.

    It has no code for it: the status is INVALID_ARGUMENT, as for any bad request, and there are no details. This is
    the one place that knows the text; a new wording makes it a plain InvalidRequest.
    """
    return failure.status == "INVALID_ARGUMENT" and (
        "input token count" in failure.message and "exceeds the maximum number of tokens" in failure.message
    )


def _is_of_account(failure: Failure) -> bool:
    """Return whether a rejection without a reason is about the whole account.

    What closes an account has a reason (CONSUMER_SUSPENDED, SERVICE_DISABLED, ...) but for two that have only words:
    "Your API key was reported as leaked", "Your project has been denied access".
    """
    return any(phrase in failure.message.lower() for phrase in ("api key", "project has been denied"))


def _by_kind(details: Any) -> dict[str, dict[str, Any]]:
    """Return the details by the last part of their type, as in `type.googleapis.com/google.rpc.RetryInfo`."""
    return {_text(detail.get("@type")).rpartition(".")[2]: detail for detail in _objects(details)}


def _objects(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _seconds(duration: Any) -> float | None:
    """Return the seconds of a google.protobuf.Duration in JSON, as in `33.5s`."""
    try:
        seconds = float(_text(duration).removesuffix("s"))
    except ValueError:
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _period(violations: list[dict[str, Any]]) -> QuotaPeriod:
    named = [f"{each.get('quotaId')} {each.get('quotaMetric')}".replace("_", "").lower() for each in violations]
    if any("perday" in name for name in named):
        return "day"
    return "minute" if any("perminute" in name for name in named) else "unknown"


def _limits(violations: list[dict[str, Any]]) -> dict[str, int]:
    """Return the lowest value of each quota that the violations name, as in `"quotaValue": "10"` (an int64 in JSON)."""
    found: dict[str, int] = {}
    for each in violations:
        name = (_text(each.get("quotaId")) or _text(each.get("quotaMetric"))).replace("_", "").lower()
        limit = _limit_of(name)
        value = _count(each.get("quotaValue"))
        if limit is not None and value:
            found[limit] = min(value, found.get(limit, value))
    return found


def _limit_of(name: str) -> str | None:
    """Return which of our limits a quota is; None for one that is not counted here, such as tokens per day."""
    if "perminute" in name:
        return "prompt_tokens_per_minute" if "token" in name else "requests_per_minute" if "request" in name else None
    return "requests_per_day" if "perday" in name and "request" in name else None


def _count(value: Any) -> int:
    """Return a whole number that JSON gives as text or as a number; 0 if it is neither."""
    text = str(value)
    # Longer ones are no limits, and int() refuses some thousand digits.
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0
