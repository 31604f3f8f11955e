"""Bounds on an attempt's waits: for its turn, for its first token, between tokens."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from shared.errors import FirstTokenTimeout, GatewayError, StreamBroken

if TYPE_CHECKING:
    import asyncio

    from shared.openai.request import ChatRequest
    from shared.settings import Settings
    from shared.types import Job

SLACK: Final = 0.1
"""Lateness at which a silence between tokens may be noticed, as a share of its bound."""


class Bounds:
    """The bounds of one attempt.

    Args:
        job: what to do.
        request: its chat request; not looked at for embeddings.
        settings: the gateway's own bounds.
    """

    def __init__(self, job: Job, request: ChatRequest, settings: Settings) -> None:
        self._job = job
        self._request = request
        self._settings = settings

    def patience_s(self) -> float:
        """Return for how many seconds the request still waits for its turn."""
        until_ms = self._job.patient_until_ms or self._job.admitted_ms + self._settings.queue_timeout_s * 1000
        return min(until_ms / 1000 - time.time(), self._settings.total_timeout_s)

    def exceeded(self, *, has_begun: bool) -> GatewayError:
        """Return the error of an attempt that was silent for too long, before its first content or after it."""
        if has_begun:
            return StreamBroken("The model stopped answering in the middle of its answer.")
        return FirstTokenTimeout(f"The model did not begin to answer within {self.first_token_s():g} s.")

    def first_token_s(self) -> float:
        """Return for how many seconds the model may be silent before its first token: longer where it may reason."""
        entry, bound_s = self._settings.catalogue.entry(self._job.model), self._settings.first_token_timeout_s
        if entry.first_token_timeout_s is not None:
            return entry.first_token_timeout_s
        effort = None if self._job.endpoint == "embeddings" else self._request.body.reasoning_effort
        # The entry of an unknown model is empty: that it lacks nothing says nothing.
        is_known = self._job.tier == "paid" and entry.prompt_usd is not None
        may_reason = effort not in {None, "none"} or (is_known and "reasoning_effort" not in entry.cannot)
        return max(bound_s, self._settings.reasoning_timeout_s) if may_reason else bound_s


def extend(bound: asyncio.Timeout, due: float, slack_s: float) -> None:
    """Move a bound behind `due`, with some slack so that most tokens need not move it."""
    when = bound.when()
    if when is None or when < due or when > due + slack_s:
        # Rescheduling costs a timer for each token; with the slack one in many tokens pays for it.
        bound.reschedule(due + slack_s)
