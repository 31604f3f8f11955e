"""What servers of OpenAI's API report of the tokens they used. Pure.

Source of the shapes: OpenAI's OpenAPI document, schema CompletionUsage; DeepSeek's and xAI's documents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.types import Usage
from workers.providers.http.usage_report import count_at, read_report

if TYPE_CHECKING:
    from msgspec import Raw


def to_usage(raw: Raw) -> Usage | None:
    """Return a usage report; None for what is none.

    DeepSeek counts cached tokens under a name of its own, and xAI reasoning beside the completion.
    """
    report = read_report(raw)
    prompt, completion = count_at(report, "prompt_tokens"), count_at(report, "completion_tokens")
    total = count_at(report, "total_tokens")
    if prompt is None and completion is None:
        return None
    reasoning = count_at(report, "completion_tokens_details", "reasoning_tokens") or 0
    if completion is None:
        completion = max(0, (total or 0) - (prompt or 0))
    elif total == (prompt or 0) + completion + reasoning:
        completion += reasoning
    cached = count_at(report, "prompt_tokens_details", "cached_tokens")
    return Usage(
        prompt_tokens=prompt or 0,
        completion_tokens=completion,
        cached_tokens=cached or count_at(report, "prompt_cache_hit_tokens") or 0,
        reasoning_tokens=reasoning,
        cache_write_tokens=count_at(report, "prompt_tokens_details", "cache_write_tokens") or 0,
        prompt_audio_tokens=count_at(report, "prompt_tokens_details", "audio_tokens") or 0,
        completion_audio_tokens=count_at(report, "completion_tokens_details", "audio_tokens") or 0,
        accepted_prediction_tokens=count_at(report, "completion_tokens_details", "accepted_prediction_tokens") or 0,
        rejected_prediction_tokens=count_at(report, "completion_tokens_details", "rejected_prediction_tokens") or 0,
    )
