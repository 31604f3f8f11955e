"""Queries of the overview page over the usage log of a span of time: each touches only the partitions that it needs."""

from __future__ import annotations

from typing import Final

# $1 and $2: from when to before when; $3: seconds of a step; $4 and $5: the first and the last day. What free tiers
# served is told apart by model: each may have a price of its own elsewhere. Lists of models are no requests to one.
USAGE_BY_STEP: Final = """
SELECT
    floor(extract(epoch FROM admitted_at - $1::timestamptz) / $3::float8)::integer AS step,
    tier,
    CASE WHEN status < 400 THEN 'served' WHEN status = 499 THEN 'cancelled' ELSE 'failed' END AS outcome,
    CASE WHEN tier IN ('local', 'gemini') THEN endpoint ELSE '' END AS endpoint,
    CASE WHEN tier IN ('local', 'gemini') THEN model ELSE '' END AS model,
    sum(count)::bigint AS requests,
    sum(prompt_tokens)::bigint AS prompt_tokens,
    sum(completion_tokens)::bigint AS completion_tokens,
    sum(cached_tokens)::bigint AS cached_tokens,
    sum(cost_usd)::float8 AS cost_usd
FROM np_claw_api_usage
WHERE admitted_at >= $1 AND admitted_at < $2 AND day >= $4::date AND day <= $5::date AND endpoint <> 'models'
GROUP BY 1, 2, 3, 4, 5
"""
# $1 and $2: from when to before when; $3 and $4: the first and the last day; $5: how many at the most.
FAILURES: Final = """
SELECT status, coalesce(error_code, '') AS code, tier, model, sum(count)::bigint AS count, max(admitted_at) AS last_at
FROM np_claw_api_usage
WHERE admitted_at >= $1 AND admitted_at < $2 AND day >= $3::date AND day <= $4::date AND status >= 400 AND status <> 499
GROUP BY status, error_code, tier, model
ORDER BY sum(count) DESC, max(admitted_at) DESC, status, error_code, tier, model
LIMIT $5
"""
# The same five. Half and 95 of 100 requests had their first token (a whole answer where it was not streamed) within
# these times.
SLOWEST: Final = """
SELECT
    tier, model, sum(count)::bigint AS requests,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY coalesce(first_token_ms, duration_ms)) AS half_ms,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY coalesce(first_token_ms, duration_ms)) AS most_ms,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY coalesce(wait_ms, 0)) AS wait_ms,
    sum(completion_tokens)::float8 / nullif(sum(duration_ms - coalesce(wait_ms, 0)), 0) * 1000 AS tokens_per_s
FROM np_claw_api_usage
WHERE admitted_at >= $1 AND admitted_at < $2 AND day >= $3::date AND day <= $4::date AND status < 400 AND tier <> ''
GROUP BY tier, model
ORDER BY most_ms DESC, tier, model
LIMIT $5
"""
