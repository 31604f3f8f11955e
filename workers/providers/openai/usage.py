"""Usage as servers of OpenAI's API report it. Pure.

Source of the shapes: OpenAI's OpenAPI document, schema CompletionUsage; DeepSeek's, xAI's and Perplexity's documents;
OpenRouter's "Usage Accounting".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from shared.types import MOST_BILLED_USD, Usage
from workers.providers.http.usage_report import count_at, read_report

if TYPE_CHECKING:
    from msgspec import Raw

_COUNTS: Final = tuple(name for name in Usage.__struct_fields__ if name.endswith(("_tokens", "_usd")))


def to_usage(raw: Raw) -> Usage | None:
    """Return a usage report; None for what is none.

    Proxies of other APIs leave those names (`input_tokens`, `cache_read_input_tokens`). DeepSeek counts cached tokens
    under a name of its own, and xAI reasoning beside the completion. OpenRouter says what
    it bills in `cost`, and Perplexity in `cost.total_cost`, in US dollars; where a key of one's own is used behind
    OpenRouter (`is_byok`), that is its fee, and the maker bills the rest.
    """
    report = read_report(raw)
    prompt = _first(report, "prompt_tokens", "input_tokens")
    completion = _first(report, "completion_tokens", "output_tokens")
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
        cached_tokens=cached or _first(report, "prompt_cache_hit_tokens", "cache_read_input_tokens") or 0,
        reasoning_tokens=reasoning,
        cache_write_tokens=count_at(report, "prompt_tokens_details", "cache_write_tokens") or 0,
        prompt_audio_tokens=count_at(report, "prompt_tokens_details", "audio_tokens") or 0,
        completion_audio_tokens=count_at(report, "completion_tokens_details", "audio_tokens") or 0,
        accepted_prediction_tokens=count_at(report, "completion_tokens_details", "accepted_prediction_tokens") or 0,
        rejected_prediction_tokens=count_at(report, "completion_tokens_details", "rejected_prediction_tokens") or 0,
        billed_usd=_billed_usd(report),
    )


def with_counts_of(before: Usage, usage: Usage) -> Usage:
    """Return a report with what an earlier one of the same reply says where it has 0: counts are the totals so far."""
    known = msgspec.structs.asdict(before)
    return msgspec.structs.replace(usage, **{name: known[name] for name in _COUNTS if not getattr(usage, name)})


def _first(report: dict[str, Any], *names: str) -> int | None:
    """Return the count under the first of these names that has one."""
    return next((count for name in names if (count := count_at(report, name)) is not None), None)


def _billed_usd(report: dict[str, Any]) -> float | None:
    cost = report.get("cost")
    billed = _usd(cost.get("total_cost") if isinstance(cost, dict) else cost)
    details = report.get("cost_details")
    if billed is None or report.get("is_byok") is not True or not isinstance(details, dict):
        return billed
    return billed + (_usd(details.get("upstream_inference_cost")) or 0.0)


def _usd(value: Any) -> float | None:
    """Return an amount of money; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= MOST_BILLED_USD else None


def to_response_usage(raw: Raw) -> Usage | None:
    """Return a usage report of the Responses API; None for what is none. Source: schema ResponseUsage.

    What stays in a cache for 12 hours is counted as what stays for one: it is the dearer of the two lifetimes.
    """
    report = read_report(raw)
    prompt, completion = count_at(report, "input_tokens"), count_at(report, "output_tokens")
    if prompt is None and completion is None:
        return None
    total = count_at(report, "total_tokens") or 0
    if completion is None:
        completion = max(0, total - (prompt or 0))
    return Usage(
        prompt_tokens=max(0, total - completion) if prompt is None else prompt,
        completion_tokens=completion,
        cached_tokens=count_at(report, "input_tokens_details", "cached_tokens") or 0,
        reasoning_tokens=count_at(report, "output_tokens_details", "reasoning_tokens") or 0,
        cache_write_tokens=count_at(report, "input_tokens_details", "cache_write_tokens") or 0,
        cache_write_1h_tokens=count_at(report, "input_tokens_details", "cache_write_tokens_details", "ttl_12h_tokens")
        or 0,
    )
