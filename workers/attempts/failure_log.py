"""The line of the log that says how an attempt failed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from shared.errors import CallerError, Cancelled, Draining, GatewayError, Rejected, Throttled
from shared.redis.names import backend_of

if TYPE_CHECKING:
    from shared.types import Job

_log = logging.getLogger(__name__)


def log_failure(job: Job, queue: str, error: GatewayError, *, has_account: bool) -> None:
    """Log with all that an operator looks for: server, model, attempt and key, and what the server itself said.

    Nothing where the caller is to blame or has left.

    Args:
        job: the attempt's.
        queue: where it was claimed, which names the server.
        error: how it failed.
        has_account: whether it came as far as an account.
    """
    if isinstance(error, CallerError | Cancelled | Draining):
        return
    # That an account or a backend is closed is said once, where that is found out.
    is_reported = not has_account or isinstance(error, Throttled | Rejected)
    reason = f" It said: {error.reason}" if error.reason else ""
    _log.log(
        logging.DEBUG if is_reported else logging.WARNING,
        "request %s, attempt %d at %s with model %s for key %s: %s: %s%s",
        *(job.request_id, job.attempt, backend_of(queue), job.model, job.key_id or "internal"),
        *(type(error).__name__, error.message, reason),
    )
