"""Reports of the requests that a process closed in the usage log: a line each, and counts where they are wanted.

A request is closed by one process, the one whose record counts (`finish.lua` says so), and this is called there alone:
so every request has one line in one log, and the counts of all processes can be added up.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from shared.queue.story import trace_id_in

if TYPE_CHECKING:
    from shared.usage import UsageRecord

_log = logging.getLogger("claw.requests")


def log_finished(record: UsageRecord) -> None:
    """Write the line of a request that has ended: no prompt, no answer, no key; a name that it asked for is quoted."""
    if not _log.isEnabledFor(logging.INFO):
        return
    fields: dict[str, object] = {
        "request_id": record.request_id,
        "key_id": record.key_id or "internal",
        "endpoint": record.endpoint,
        "status": record.status,
        "error": record.error_code,
        "asked": record.requested_model,
        "model": record.model,
        "tier": record.tier,
        "attempts": record.attempts,
        "stream": record.stream,
        "wait_ms": record.wait_ms,
        "first_token_ms": record.first_token_ms,
        "duration_ms": record.duration_ms,
        "prompt_tokens": record.prompt_tokens,
        "completion_tokens": record.completion_tokens,
        "cost_usd": record.cost_usd,
    }
    if record.count > 1:
        fields["count"] = record.count
    if record.story:
        fields["trace_id"] = trace_id_in(record.story)
    # What does not apply is not there: a refused request had no tier.
    known = {name: value for name, value in fields.items() if value is not None and value != ""}
    # Not `info`: that looks for the file and line that called it, which no line shows.
    line = logging.LogRecord(_log.name, logging.INFO, "", 0, "finished", None, None)
    line.fields = known
    _log.handle(line)
