"""SQL of the pages of the usage log. Values are always bound.

All have the same filter: $1 and $2, from when to before when; $3 and $4, the first and the last day, so that only their
partitions are read; $5, a key; $6, whether the internal token is meant; $7, a model, asked for or served; $8, a tier;
$9, an outcome.
"""

from __future__ import annotations

from typing import Final

_FILTER: Final = """
    usage.admitted_at >= $1 AND usage.admitted_at < $2 AND usage.day >= $3::date AND usage.day <= $4::date
    AND ($5::uuid IS NULL OR usage.key_id = $5) AND (NOT $6::boolean OR usage.key_id IS NULL)
    AND ($7::text IS NULL OR usage.model = $7 OR usage.asked_model = $7)
    AND ($8::text IS NULL OR usage.tier = $8)
    AND ($9::text IS NULL OR $9 = CASE WHEN status < 400 THEN 'ok' WHEN status = 499 THEN 'cancelled' ELSE 'failed' END)
    AND usage.endpoint <> 'models'
"""
# $10 and $11: only what is older than this time and id; $12: how many at the most.
LIST_PAGE: Final = """
SELECT
    usage.request_id, usage.key_id, keys.name AS key_name, usage.day, usage.endpoint, usage.model, usage.asked_model,
    usage.tier, usage.tier_source, usage.stream, usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens,
    usage.reasoning_tokens, usage.usage_source, usage.cost_usd, usage.status, usage.error_code, usage.attempts,
    usage.wait_ms, usage.first_token_ms, usage.duration_ms, usage.admitted_at, usage.count, usage.added_tokens,
    usage.error_reason, usage.purpose, usage.story
FROM np_claw_api_usage AS usage LEFT JOIN np_claw_api_keys AS keys ON keys.id = usage.key_id
WHERE {filter} AND ($10::timestamptz IS NULL OR (usage.admitted_at, usage.request_id) < ($10, $11::uuid))
ORDER BY usage.admitted_at DESC, usage.request_id DESC
LIMIT $12
""".replace("{filter}", _FILTER)
TOTALS: Final = """
SELECT
    coalesce(sum(usage.count), 0)::bigint AS requests,
    coalesce(sum(usage.count) FILTER (WHERE status >= 400 AND status <> 499), 0)::bigint AS failed,
    coalesce(sum(usage.prompt_tokens), 0)::bigint AS prompt_tokens,
    coalesce(sum(usage.completion_tokens), 0)::bigint AS completion_tokens,
    coalesce(sum(usage.cost_usd), 0)::float8 AS cost_usd,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY coalesce(first_token_ms, duration_ms)) FILTER (WHERE status < 400)
        AS first_token_ms
FROM np_claw_api_usage AS usage
WHERE {filter}
""".replace("{filter}", _FILTER)
# $10: seconds of a step.
STEPS: Final = """
SELECT
    floor(extract(epoch FROM usage.admitted_at - $1::timestamptz) / $10::float8)::integer AS step,
    CASE
        WHEN status >= 400 AND status <> 499 THEN 'error' WHEN usage.tier = '' THEN 'other' ELSE usage.tier
    END AS kind,
    sum(usage.count)::bigint AS requests,
    sum(usage.prompt_tokens + usage.completion_tokens)::bigint AS tokens,
    sum(usage.cost_usd)::float8 AS cost_usd
FROM np_claw_api_usage AS usage
WHERE {filter}
GROUP BY 1, 2
""".replace("{filter}", _FILTER)
MODELS: Final = """
SELECT DISTINCT coalesce(nullif(usage.model, ''), usage.asked_model) AS model
FROM np_claw_api_usage AS usage
WHERE usage.admitted_at >= $1 AND usage.day >= $2::date AND usage.endpoint <> 'models'
ORDER BY 1 LIMIT 200
"""
