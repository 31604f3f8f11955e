"""What the end of an attempt says of its account."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from shared import errors
from workers.accounts.outcome import DENIED_MODEL_MS, FailureClass, failure_class_of, retry_after_s, used_nothing

NOW = datetime(2026, 1, 15, 7, 59, 50, tzinfo=UTC)
"""Ten seconds before a minute ends, and a day of US Pacific."""


def spent(
    period: errors.QuotaPeriod, retry_after_s: float | None = None, limits: dict[str, int] | None = None
) -> errors.Throttled:
    """Return a spent quota."""
    error = errors.Throttled("spent", retry_after_s=retry_after_s)
    error.period, error.limits = period, limits or {}
    return error


@pytest.mark.parametrize(
    ("error", "cool_ms"),
    [
        (spent("minute", 33.5), 33_500),
        (spent("minute"), 10_000),
        (spent("minute", 90_000), 300_000),
        (spent("day", 33.5), 11_000),
        (spent("unknown", 33.5), 33_500),
        (spent("unknown"), 0),
        (errors.Throttled("no"), 0),
        (errors.Throttled("no", retry_after_s=7), 7_000),
        (errors.Throttled("no", retry_after_s=1e9), 3_600_000),
    ],
)
def test_a_limit_cools_the_account_for_as_long_as_it_lasts(error: errors.Throttled, cool_ms: int) -> None:
    """A minute's: what RetryInfo says, else its end; a day's: midnight, whatever that says; else a bounded hint."""
    assert failure_class_of(error, NOW) == FailureClass("throttled", error.period, cool_ms)


def test_limits_that_the_upstream_names_are_kept() -> None:
    """By their fields in Redis."""
    failure = failure_class_of(spent("day", limits={"requests_per_minute": 5, "requests_per_day": 25}), NOW)
    assert failure is not None
    assert failure.limits == (("rpm", 5), ("rpd", 25))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.Rejected("no"), "rejected"),
        (errors.Unavailable("no"), "failed"),
        (errors.FirstTokenTimeout("no"), "failed"),
        (errors.Malformed("no"), "failed"),
        (errors.StreamBroken("no"), "failed"),
    ],
)
def test_a_credential_that_is_refused_is_no_server_that_fails(error: errors.GatewayError, kind: str) -> None:
    """The operator must change the one; the other passes."""
    failure = failure_class_of(error, NOW)
    assert failure is not None
    assert failure.kind == kind


def test_what_is_back_first_says_when_to_try_again() -> None:
    """The backend's end, whatever the account said; soon, if another is open; else the upstream's own word."""
    error = errors.Throttled("no", retry_after_s=625)
    assert retry_after_s(error, 0, 1000.0) == 625
    assert retry_after_s(error, 1_004_000, 1000.0) == 4
    assert retry_after_s(error, 999_000, 1000.0) == 0
    error.retry_here = True
    assert retry_after_s(error, 0, 1000.0) == 1
    assert retry_after_s(errors.Unavailable("no"), 0, 1000.0) is None


@pytest.mark.parametrize(
    ("error", "is_free"),
    [
        (errors.InvalidRequest("no"), True),
        (errors.ContextTooLong("no"), True),
        (errors.ModelMissing("no"), True),
        (errors.Cancelled("no"), False),
        (errors.ClientTooSlow("no"), False),
        (errors.InternalFault("no"), False),
    ],
)
def test_what_callers_do_blames_no_account(error: errors.GatewayError, *, is_free: bool) -> None:
    """Also asking for models that do not exist; what the upstream refused to begin used no quota."""
    assert failure_class_of(error, NOW) is None
    assert used_nothing(error) is is_free


def test_a_model_that_the_account_may_not_use_closes_that_model_alone() -> None:
    """Like a limit of it, for a while; one that is not there closes nothing."""
    denied = failure_class_of(errors.ModelDenied("no"), NOW)
    assert denied == FailureClass("throttled", cool_ms=DENIED_MODEL_MS)
    assert failure_class_of(errors.ModelMissing("no"), NOW) is None
