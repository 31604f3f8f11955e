"""/ai/usage and /ai/stats: what models were used for, in the form of nSelf's command line."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec
from quart import request

from api.endpoints.manage.guard import integer_argument
from api.endpoints.manage.usage import DEFAULT_LIMIT, HIGHEST_LIMIT, wait_until_recorded
from api.gateway import gateway
from api.http.body import json_response
from api.routing.offers import provider_of
from api.routing.rules import SOURCE_TIERS
from shared.errors import InvalidRequest
from shared.postgres import stats_queries
from shared.types import Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quart import Response

    from shared.models.catalogue import Catalogue
    from shared.types import Tier

PERIODS: Final = ("today", "week", "month", "all")
COMPARED_WITH: Final = "gpt-4o-mini"
"""The paid model at whose prices it is estimated what free answers have saved."""
_TOP: Final = 10


class Used(msgspec.Struct, frozen=True):
    """The usage of a model of a tier in a time."""

    tier: Tier
    model: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    cached: int

    @property
    def tokens(self) -> int:
        """Return the tokens of prompts and answers."""
        return self.prompt_tokens + self.completion_tokens


async def list_ai_usage() -> Response:
    """List what models were used for, the newest first, as a bare array."""
    limit = integer_argument("limit", DEFAULT_LIMIT, low=1, high=HIGHEST_LIMIT)
    since = _since(request.args.get("period") or "today")
    state = gateway()
    await wait_until_recorded(state.redis)
    rows = await state.database.fetch(stats_queries.USED, since, limit)
    return json_response([
        {
            "tier_source": row["tier_source"],
            "provider": _provider(row["model"], row["tier"]),
            "model": row["model"],
            "prompt_tokens": row["prompt_tokens"],
            "completion_tokens": row["completion_tokens"],
            "is_cached": row["cached_tokens"] > 0,
            "cost_usd": float(row["cost_usd"]),
            "created_at": row["admitted_at"].isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        for row in rows
    ])  # fmt: skip


async def summarize_ai_usage() -> Response:
    """Sum up a period: by tier and by provider."""
    period = request.args.get("period") or "all"
    used = await _used(_since(period))
    providers: dict[str, dict[str, Any]] = {}
    for each in used:
        name = _provider(each.model, each.tier)
        found = providers.setdefault(name, {"name": name, "requests": 0, "tokens": 0, "cost": 0.0})
        found["requests"] += each.requests
        found["tokens"] += each.tokens
        found["cost"] += each.cost_usd
    return json_response({
        "period": period,
        "total_requests": sum(each.requests for each in used),
        "total_tokens": sum(each.tokens for each in used),
        "cost_usd": sum(each.cost_usd for each in used),
        "cache_hits": sum(each.cached for each in used),
        "estimated_savings": saved_usd(used, gateway().settings.catalogue),
        "tier_breakdown": {
            word: sum(each.requests for each in used if each.tier == tier) for tier, word in SOURCE_TIERS.items()
        },
        "providers": sorted(providers.values(), key=lambda found: (-found["requests"], found["name"])),
    })  # fmt: skip


async def show_ai_stats() -> Response:
    """Show this day and this month, in UTC: requests, tokens, costs, and how much of it was free."""
    today = await _used(_since("today"))
    month = await _used(_since("month"))
    requests = sum(each.requests for each in month)

    def percent(part: int) -> float:
        return round(100 * part / requests, 1) if requests else 0.0

    of_tier = {tier: sum(each.requests for each in month if each.tier == tier) for tier in SOURCE_TIERS}
    models: dict[str, int] = {}
    for each in month:
        models[each.model] = models.get(each.model, 0) + each.requests
    return json_response({
        "requests_today": sum(each.requests for each in today),
        "requests_month": requests,
        "tokens_today": sum(each.tokens for each in today),
        "cost_usd_today": sum(each.cost_usd for each in today),
        "cost_usd_month": sum(each.cost_usd for each in month),
        "local_requests_pct": percent(of_tier["local"]),
        "free_gemini_pct": percent(of_tier["gemini"]),
        "paid_api_pct": percent(of_tier["paid"]),
        "cache_hit_rate": percent(sum(each.cached for each in month)),
        "savings_usd_month": saved_usd(month, gateway().settings.catalogue),
        "top_models": [
            {"model": model, "requests": count}
            for model, count in sorted(models.items(), key=lambda found: (-found[1], found[0]))[:_TOP]
        ],
    })  # fmt: skip


def saved_usd(used: Sequence[Used], catalogue: Catalogue) -> float:
    """Return about what the answers of the free tiers would have cost at `COMPARED_WITH`, in US dollars."""
    free = [each for each in used if each.tier != "paid"]
    prompt, completion = sum(each.prompt_tokens for each in free), sum(each.completion_tokens for each in free)
    return round(catalogue.cost_usd(COMPARED_WITH, Usage(prompt, completion)), 6)


def first_day(period: str, today: date) -> date | None:
    """Return the first day of a period that ends today; None where it has no beginning."""
    return {"today": today, "week": today - timedelta(days=6), "month": today.replace(day=1)}.get(period)


def _since(period: str) -> date | None:
    if period not in PERIODS:
        raise InvalidRequest(f"period must be one of {', '.join(PERIODS)}.")
    return first_day(period, datetime.now(UTC).date())


async def _used(since: date | None) -> list[Used]:
    state = gateway()
    await wait_until_recorded(state.redis)
    return [Used(**row) for row in await state.database.fetch(stats_queries.USED_BY_MODEL, since)]


def _provider(model: str, tier: Tier) -> str:
    """Return who served a model, as far as its name says; the log does not know which of one's own servers it was."""
    return "local" if tier == "local" else provider_of(model, tier, gateway().capacity) or tier
