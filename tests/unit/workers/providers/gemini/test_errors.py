"""workers/providers/gemini/errors.py."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared import errors
from tests.upstreams.gemini.replies import error, quota
from workers.providers.gemini.errors import Failure, from_body, to_error, to_stream_error

PER_DAY = "GenerateRequestsPerDayPerProjectPerModel-FreeTier"
PER_MINUTE = "GenerateContentInputTokensPerModelPerMinute-FreeTier"
TOO_LONG = "The input token count (3475108) exceeds the maximum number of tokens allowed (1048576)."
INFO = {"@type": "ErrorInfo", "domain": "googleapis.com"}


def _error(body: Any, retry_after_s: float | None = None) -> errors.GatewayError:
    return to_error(body["error"]["code"], from_body(json.dumps(body).encode()), retry_after_s)


@pytest.mark.parametrize(
    ("quota_ids", "period"),
    [
        ((PER_MINUTE,), "minute"),
        ((PER_DAY,), "day"),
        ((PER_MINUTE, PER_DAY), "day"),
        (("GenerateRequestsPerHour",), "unknown"),
    ],
)
def test_a_spent_quota_tells_its_period(quota_ids: tuple[str, ...], period: str) -> None:
    """A daily quota outlasts every delay that is named with it."""
    spent = _error(quota(*quota_ids))
    assert isinstance(spent, errors.Throttled)
    assert (spent.period, spent.retry_after_s) == (period, 33.5)


@pytest.mark.parametrize(
    ("violations", "limits"),
    [
        ([(PER_MINUTE, "250000")], {"prompt_tokens_per_minute": 250_000}),
        (
            [(PER_DAY, "50"), ("GenerateRequestsPerMinutePerProjectPerModel", 15)],
            {"requests_per_minute": 15, "requests_per_day": 50},
        ),
        ([(PER_DAY, "50"), (PER_DAY, "20")], {"requests_per_day": 20}),
        ([(PER_DAY, None), (PER_DAY, "many"), (PER_DAY, "-1"), (PER_DAY, "0"), (PER_DAY, [5])], {}),
        ([("GenerateContentInputTokensPerModelPerDay", "9"), ("RequestsPerHour", "9"), (7, "9")], {}),
    ],
)
def test_a_quota_that_names_its_value_teaches_it(violations: list[tuple[Any, Any]], limits: dict[str, int]) -> None:
    """The lowest of each that we count; zero and nonsense teach nothing."""
    body = quota("X")
    body["error"]["details"][1]["violations"] = [
        {"quotaId": quota_id, "quotaValue": value} for quota_id, value in violations
    ]
    spent = _error(body)
    assert isinstance(spent, errors.Throttled)
    assert spent.limits == limits


def test_older_quotas_tell_their_period_by_their_metric() -> None:
    """Their names stand in snake case."""
    body = quota("X")
    body["error"]["details"][1]["violations"] = [
        {"quotaMetric": "g.googleapis.com/generate_requests_per_model_per_day"}
    ]
    spent = _error(body)
    assert isinstance(spent, errors.Throttled)
    assert spent.period == "day"


def test_the_longer_of_both_delays_is_honoured() -> None:
    """The header and RetryInfo may both be there."""
    assert _error(quota(PER_DAY), 5).retry_after_s == 33.5
    assert _error(quota(PER_DAY), 50).retry_after_s == 50
    assert _error(quota(PER_DAY, retry_delay=None), 50).retry_after_s == 50
    assert _error(quota(PER_DAY, retry_delay=None)).retry_after_s is None


@pytest.mark.parametrize("delay", ["soon", "nans", "infs", "", 5, None])
def test_a_delay_that_cannot_be_read_is_none(delay: Any) -> None:
    """Nonsense is no wait."""
    assert (
        _error(error(429, "RESOURCE_EXHAUSTED", details=[{"@type": "RetryInfo", "retryDelay": delay}])).retry_after_s
        is None
    )


def test_a_429_without_quotas_is_plainly_throttled() -> None:
    """Google says so when its own capacity is short."""
    assert type(_error(error(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted."))) is errors.Throttled


@pytest.mark.parametrize(
    "body",
    [
        error(400, "INVALID_ARGUMENT", "API key not valid.", [{**INFO, "reason": "API_KEY_INVALID"}]),
        error(403, "PERMISSION_DENIED", "no", [{**INFO, "reason": "API_KEY_SERVICE_BLOCKED"}]),
        error(401, "UNAUTHENTICATED"),
        error(403, "PERMISSION_DENIED", "no", [{**INFO, "reason": "CONSUMER_SUSPENDED"}]),
        error(400, "FAILED_PRECONDITION", "User location is not supported for the API use."),
    ],
)
def test_a_refused_credential_is_rejected_whatever_its_status(body: dict[str, Any]) -> None:
    """The account cools down; the caller is not blamed and learns nothing of the key."""
    failure = _error(body)
    assert type(failure) is errors.Rejected
    assert body["error"]["message"] not in failure.message


def test_a_prompt_that_is_too_long_is_known_by_geminis_text() -> None:
    """There is no code for it; another text of the same status is any bad request."""
    assert type(_error(error(400, "INVALID_ARGUMENT", TOO_LONG))) is errors.ContextTooLong
    assert type(_error(error(400, "INVALID_ARGUMENT", "tokens"))) is errors.InvalidRequest
    assert type(_error(error(429, "RESOURCE_EXHAUSTED", TOO_LONG))) is errors.Throttled


@pytest.mark.parametrize(
    ("field", "param"),
    [
        ("generation_config.candidate_count", "n"),
        ("generationConfig.stopSequences[0]", "stop"),
        ("seed", "seed"),
        ("contents[0].parts", None),
        (7, None),
    ],
)
def test_a_blamed_field_is_named_as_the_caller_knows_it(field: Any, param: str | None) -> None:
    """BadRequest speaks of Gemini's own fields."""
    failure = _error(
        error(400, "INVALID_ARGUMENT", "bad", [{"@type": "BadRequest", "fieldViolations": [{"field": field}]}])
    )
    assert (type(failure), failure.param, failure.message) == (errors.InvalidRequest, param, "bad")


@pytest.mark.parametrize(
    ("code", "kind"),
    [(404, errors.ModelMissing), (408, errors.Unavailable), (413, errors.InvalidRequest), (499, errors.Unavailable),
     (500, errors.Unavailable), (503, errors.Unavailable), (504, errors.Unavailable)],
)  # fmt: skip
def test_other_statuses_have_the_class_they_have_everywhere(code: int, kind: type[errors.GatewayError]) -> None:
    """Only what is Google's own is classed here."""
    assert type(_error(error(code, "X"))) is kind


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"[1]", b"7", b'{"error":null}', b'{"error":[]}', b"\xff", b"[" * 5000, b"{}"]
)
def test_a_body_of_another_kind_says_nothing(body: bytes) -> None:
    """The status alone decides then."""
    assert from_body(body) == Failure()


def test_details_of_another_shape_are_passed_over() -> None:
    """Nothing in them is trusted."""
    details: list[Any] = [
        7, {"@type": 7}, {"@type": "x.QuotaFailure", "violations": [3, {"quotaId": None}]},
        {"@type": "x.BadRequest", "fieldViolations": {}}, {"@type": "x.ErrorInfo", "reason": 5},
    ]  # fmt: skip
    body = {"error": {"code": "429", "message": 5, "status": None, "details": details}}
    failure = from_body(json.dumps(body).encode())
    assert (failure.http_status, failure.message, failure.period) == (None, "", "unknown")
    assert from_body(b'{"error":{"details":{}}}') == Failure()


def test_a_long_message_is_cut() -> None:
    """A megabyte of error text does not travel to the client."""
    assert len(from_body(json.dumps(error(400, "X", "x" * 1_000_000)).encode()).message) == 2000


def test_an_error_in_a_stream_without_a_code_is_a_failed_attempt() -> None:
    """There is no status to class it by."""
    assert type(to_stream_error(Failure(message="no"), after_content=False)) is errors.Unavailable


def test_a_403_without_a_reason_is_about_the_model_alone() -> None:
    """As Google answers for a preview that the project may not use; what is about the key has a reason."""
    error = {"code": 403, "message": "The caller does not have permission", "status": "PERMISSION_DENIED"}
    assert type(_error({"error": error})) is errors.ModelDenied
    for words in (
        "Your API key was reported as leaked. Please use another API key.",
        "Your project has been denied access.",
    ):
        assert type(_error({"error": {**error, "message": words}})) is errors.Rejected
    suspended = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "CONSUMER_SUSPENDED"}
    assert type(_error({"error": {**error, "details": [suspended]}})) is errors.Rejected
