"""workers/providers/http/error_body.py."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared import errors
from workers.providers.http.error_body import Report, from_error, from_error_body, http_failure, stream_failure

FORMS: list[tuple[Any, Report]] = [
    (
        {"error": {"message": "m", "type": "invalid_request_error", "param": "stop", "code": "bad_stop"}},
        Report("m", "bad_stop", "stop"),
    ),
    ({"error": {"message": "m", "type": "invalid_request_error", "param": None, "code": None}}, Report("m")),
    (  # llama.cpp
        {"error": {"code": 400, "message": "m", "type": "exceed_context_size_error", "n_ctx": 256}},
        Report("m", "exceed_context_size_error", None, 400),
    ),
    (  # vLLM before its errors were wrapped
        {"object": "error", "message": "m", "type": "BadRequestError", "param": None, "code": 400},
        Report("m", None, None, 400),
    ),
    ({"error": "m"}, Report("m")),
    (  # FastAPI
        {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "no"}]},
        Report("no", "extra_forbidden", "stream_options"),
    ),
    (  # Mistral
        {"object": "error", "message": {"detail": [{"loc": ["body", "tools", 0, "type"], "msg": "no"}]}},
        Report("no", None, "tools.0.type"),
    ),
    (  # Anthropic
        {
            "type": "error",
            "error": {
                "type": "rate_limit_error",
                "message": "m",
                "details": {"error_code": "enforced_spend_limit_reached"},
            },
        },
        Report("m", "enforced_spend_limit_reached"),
    ),
    ({"error": {"type": "overloaded_error", "message": "m", "details": None}}, Report("m", "overloaded_error")),
    ({"detail": "Not Found"}, Report("Not Found")),
    ({}, Report()),
    ([], Report()),
    (None, Report()),
    (7, Report()),
    ({"error": {"message": 7, "code": [], "param": {}}}, Report()),
    ({"error": {"detail": [{"loc": None}]}}, Report()),
]


@pytest.mark.parametrize(("body", "report"), FORMS)
def test_every_form_of_error_body_is_read(body: Any, report: Report) -> None:
    """Each server's own form gives the same account."""
    assert from_error_body(json.dumps(body).encode()) == report


def test_a_caller_is_reported_which_parameter_was_refused() -> None:
    """The upstream's param reaches the client."""
    failure = http_failure(400, Report("m", "c", "stop"), None)
    assert (type(failure), failure.param, failure.code, failure.message) == (errors.InvalidRequest, "stop", "c", "m")


@pytest.mark.parametrize("code", ["context_length_exceeded", "exceed_context_size_error"])
def test_a_prompt_that_is_too_long_is_known_by_its_code(code: str) -> None:
    """Whatever the status, and inside a stream too."""
    assert type(http_failure(500, Report("m", code), None)) is errors.ContextTooLong
    assert type(stream_failure(Report("m", code), after_content=False)) is errors.ContextTooLong


@pytest.mark.parametrize(
    "code",
    [
        "credit_balance_exhausted",
        "enforced_spend_limit_reached",
        "insufficient_quota",
        "organization_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "project_spend_limit_exceeded",
    ],
)
def test_an_account_that_may_spend_no_more_is_not_merely_busy(code: str) -> None:
    """Its 429 has no end that waiting would bring: the operator must act. Nobody else learns the reason's details."""
    failure = http_failure(429, Report("your org-123 has no credit", code), None)
    assert type(failure) is errors.Rejected
    assert "org-123" not in failure.message
    assert type(http_failure(429, Report("m", "rate_limit_exceeded"), 3)) is errors.Throttled


@pytest.mark.parametrize("code", ["unsupported_parameter", "unsupported_value", "unknown_parameter"])
def test_what_a_model_does_not_take_another_may(code: str) -> None:
    """OpenAI says so by its code; other mistakes are the caller's at any server."""
    failure = http_failure(400, Report("m", code, "temperature"), None)
    assert (type(failure), failure.param, failure.code) == (errors.ParameterUnsupported, "temperature", code)
    assert type(http_failure(400, Report("m", code), None)) is errors.InvalidRequest, "nothing says which"
    assert type(http_failure(400, Report("m", "invalid_value", "temperature"), None)) is errors.InvalidRequest


def test_pydantics_words_for_an_unknown_field_are_a_code_too() -> None:
    """Mistral's form, and FastAPI's."""
    detail = [{"type": "extra_forbidden", "loc": ["body", "store"], "msg": "Extra inputs are not permitted"}]
    for body in ({"object": "error", "message": {"detail": detail}, "param": None, "code": None}, {"detail": detail}):
        failure = http_failure(422, from_error_body(json.dumps(body).encode()), None)
        assert (type(failure), failure.param) == (errors.ParameterUnsupported, "store")
    detail[0]["type"] = "greater_than"
    failure = http_failure(422, from_error_body(json.dumps({"detail": detail}).encode()), None)
    assert (type(failure), failure.param) == (errors.InvalidRequest, "store")


def test_what_llama_cpp_was_not_started_for_is_no_fault_of_the_server() -> None:
    """It says so with status 501."""
    body = {"error": {"code": 501, "message": "This server does not support tools.", "type": "not_supported_error"}}
    assert type(http_failure(501, from_error_body(json.dumps(body).encode()), None)) is errors.Unsupported


def test_an_error_in_a_stream_keeps_its_code_and_structured_status() -> None:
    """Before content a status in the event decides as the same HTTP status would; otherwise it is Unavailable."""
    assert type(stream_failure(Report("m", None, None, 429), after_content=False)) is errors.Throttled
    failure = stream_failure(Report("m", "server_error"), after_content=False)
    assert (type(failure), failure.code) == (errors.Unavailable, "server_error")
    assert type(stream_failure(Report("m", "server_error", None, 429), after_content=True)) is errors.StreamBroken


def test_long_texts_are_cut() -> None:
    """A megabyte of error text does not travel to the client."""
    assert len(from_error_body(json.dumps({"error": "x" * 1_000_000}).encode()).message) == 2000


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "model_decommissioned", errors.ModelMissing),
        (400, "model_not_supported", errors.ModelMissing),
        (400, "model_terms_required", errors.ModelMissing),
        (403, "model_permission_blocked_org", errors.ModelDenied),
        (403, "model_not_found", errors.ModelDenied),
        (404, "anything", errors.ModelMissing),
        (410, None, errors.ModelMissing),
        (403, "permission_error", errors.Rejected),
        (401, "model_not_found", errors.Rejected),
        (429, "model_not_found", errors.Throttled),
        (400, "model_moon", errors.InvalidRequest),
    ],
)
def test_one_model_is_blamed_for_itself(status: int, code: str | None, kind: type[errors.GatewayError]) -> None:
    """Neither the account, which serves others, nor the caller, who asked for what is listed."""
    assert type(http_failure(status, Report("m", code), None)) is kind


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (
            {"code": 403, "message": "flagged", "metadata": {"reasons": ["violence"], "flagged_input": "..."}},
            "content_policy_violation",
        ),
        ({"code": "content_filter", "message": "flagged"}, "content_filter"),
        ({"type": "refusal", "message": "no", "metadata": {"provider_name": "x"}}, "refusal"),
    ],
)
def test_a_request_that_is_flagged_is_blamed_and_not_the_credential(error: dict[str, Any], code: str) -> None:
    """Routers have the status of a wrong credential for it, which would close the account to all others."""
    failure = http_failure(403, from_error({"error": error}), None)
    assert (type(failure), failure.code) == (errors.InvalidRequest, code)
    plain = from_error({"error": {"code": 403, "message": "no", "metadata": {"provider_name": "x", "reasons": []}}})
    assert type(http_failure(403, plain, None)) is errors.Rejected
