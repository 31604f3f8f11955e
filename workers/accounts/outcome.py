"""The failure class of an account after an attempt. Pure but for the time that is passed in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from shared.errors import (
    CallerError,
    FirstTokenTimeout,
    GatewayError,
    Malformed,
    ModelDenied,
    ModelMissing,
    QuotaPeriod,
    Rejected,
    StreamBroken,
    Throttled,
    Unavailable,
)
from shared.models.quota_day import ms_until_reset

if TYPE_CHECKING:
    from datetime import datetime


DENIED_MODEL_MS: Final = 600_000
"""Time that an account which may not use a model is left alone with that model."""
MINUTE_MS: Final = 60_000
LATE_MS: Final = 1000
"""Google's clock may be behind ours."""
LONGEST_MINUTE_MS: Final = 300_000
LONGEST_MS: Final = 3_600_000
"""Longest time that an account cools where only a Retry-After says how long."""
SOON_S: Final = 1.0
"""Time after which to try again while another account is open."""

_LIMITS: Final = {"requests_per_minute": "rpm", "prompt_tokens_per_minute": "tpm", "requests_per_day": "rpd"}
"""The fields of limits in Redis, by those of the catalogue's `Quota`."""

Kind = Literal["rejected", "throttled", "failed"]


class FailureClass(msgspec.Struct, frozen=True):
    """The class of an account's failure: why it is to be used less.

    Args:
        kind: its credential was rejected, it is at a limit (or may not use the model), or it does not work.
        period: of the quota that is spent.
        cool_ms: how long it cools down, in milliseconds; 0 where the upstream gave no hint.
        limits: the quotas that the upstream named, by their fields in Redis.
    """

    kind: Kind
    period: QuotaPeriod = "unknown"
    cool_ms: int = 0
    limits: tuple[tuple[str, int], ...] = ()


class NoAccount(msgspec.Struct, frozen=True):
    """No account can be used now.

    Args:
        why: of the account that is back first. `minute` and `day`: our own count, or the upstream's word, of a minute's
            quota; our own count of a day's. `day_reported`: the upstream's word of a day's. Else `cooling`, `failing`
            or `rejected`.
        wait_ms: after how long that may be over.
        closed_ms: until when the backend can serve nothing of this model, 0 where only this prompt is too long.
        quota_wait_ms: to `last` alone: after how long a minute's quota is back, worth waiting for; else 0.
    """

    why: str
    wait_ms: int
    closed_ms: int
    quota_wait_ms: int = 0

    def error(self) -> GatewayError:
        """Return the error of an attempt that no account can serve, by what keeps the account that is back first.

        A credential that was rejected is not back by itself, so there is no time to name.
        """
        wait_s = self.wait_ms / 1000
        if self.why == "rejected":
            return Rejected("The model server refused the gateway's credential.")
        if self.why == "failing":
            return Unavailable(
                "The model server has failed repeatedly and is left alone for now.", retry_after_s=wait_s
            )
        if self.why in {"minute", "day", "day_reported"}:
            return Throttled("The quota of every account for this model is used up.", retry_after_s=wait_s)
        return Throttled("The model server is at its rate limit.", retry_after_s=wait_s)


def failure_class_of(error: GatewayError, now: datetime) -> FailureClass | None:
    """Return what an error says of the account; None where it says nothing, as when the caller is to blame.

    Args:
        error: how the attempt ended, before the account had answered anything.
        now: the time, for quotas that come back at a fixed one.
    """
    if isinstance(error, Rejected):
        return FailureClass("rejected")
    if isinstance(error, Throttled):
        limits = tuple((_LIMITS[name], value) for name, value in error.limits.items())
        return FailureClass("throttled", error.period, _cool_ms(error.period, error.retry_after_s, now), limits)
    if isinstance(error, ModelDenied):
        return FailureClass("throttled", cool_ms=DENIED_MODEL_MS)
    if isinstance(error, Unavailable | FirstTokenTimeout | Malformed | StreamBroken):
        return FailureClass("failed")
    return None


def used_nothing(error: GatewayError) -> bool:
    """Return whether an attempt that ended so took nothing of a quota."""
    return isinstance(error, CallerError | ModelMissing)


def retry_after_s(error: GatewayError, closed_ms: int, now_s: float) -> float | None:
    """Return in how many seconds to try again: when the first account is back, as `NoAccount.error` says it.

    Args:
        error: how it ended; the upstream's own word counts only as long as the backend is open by this account alone.
        closed_ms: until when the backend is closed, in ms since 1970; 0 where it is open.
        now_s: the time, in seconds since 1970.
    """
    if isinstance(error, Rejected) and not error.retry_here:
        return None
    if closed_ms:
        return max(0.0, closed_ms / 1000 - now_s)
    return SOON_S if error.retry_here else error.retry_after_s


def _cool_ms(period: QuotaPeriod, retry_after_s: float | None, now: datetime) -> int:
    if period == "day":
        # Not the Retry-After: Google names seconds there even where the day is used up.
        return ms_until_reset(now) + LATE_MS
    given_ms = int((retry_after_s or 0) * 1000)
    if period == "minute":
        rest_of_minute_ms = MINUTE_MS - int(now.timestamp() * 1000) % MINUTE_MS
        return min(given_ms or rest_of_minute_ms, LONGEST_MINUTE_MS)
    return min(given_ms, LONGEST_MS)
