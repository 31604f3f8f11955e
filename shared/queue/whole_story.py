"""A finished request's story from its beginning to its end: what its row in the usage log says, and what happened."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def whole_story(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what happened to a request, in the order of time.

    Args:
        row: of the usage log, as the management API shows it.
    """
    admitted_ms = round(datetime.fromisoformat(row["created_at"]).timestamp() * 1000)
    found: list[dict[str, Any]] = [
        {"at_ms": admitted_ms, "what": "admitted", "detail": f"{row['endpoint']}, model {row['asked_model']}"}
    ]
    found += row["story"]
    if row["wait_ms"] is not None:
        served = f"attempt {row['attempts']} at {row['model']} ({row['tier']})"
        found.append({"at_ms": admitted_ms + row["wait_ms"], "what": "started", "detail": served})
    if row["first_token_ms"] is not None:
        found.append({"at_ms": admitted_ms + row["first_token_ms"], "what": "answering", "detail": "first content"})
    ended = f"{row['status']} {row['error_code'] or ''} {row['error_reason'] or ''}".strip()
    found.sort(key=lambda event: int(event["at_ms"]))
    # Its duration counts from a few milliseconds after the admission.
    ended_ms = max(admitted_ms + row["duration_ms"], int(found[-1]["at_ms"]))
    return [*found, {"at_ms": ended_ms, "what": "ended", "detail": ended}]
