"""Every SQL statement about what models were used for and what was paid, by name. Values are always bound.

Only rows of requests that a model worked on: refused ones are no use of it.
"""

from __future__ import annotations

from typing import Final

# $1: the first day, in UTC; null for all. $2: how many, the newest.
USED: Final = """
SELECT tier, tier_source, model, prompt_tokens, completion_tokens, cached_tokens, cost_usd, admitted_at
FROM np_claw_api_usage
WHERE usage_source <> 'none' AND ($1::date IS NULL OR day >= $1)
ORDER BY admitted_at DESC, request_id DESC
LIMIT $2
"""
USED_BY_MODEL: Final = """
SELECT
    tier, model, count(*)::bigint AS requests, sum(prompt_tokens)::bigint AS prompt_tokens,
    sum(completion_tokens)::bigint AS completion_tokens, sum(cost_usd)::float8 AS cost_usd,
    count(*) FILTER (WHERE cached_tokens > 0)::bigint AS cached
FROM np_claw_api_usage
WHERE usage_source <> 'none' AND ($1::date IS NULL OR day >= $1)
GROUP BY tier, model ORDER BY requests DESC, model
"""
# Of a key, or with null of the internal token.
LAST_SESSION: Final = """
SELECT id FROM np_claw_sessions
WHERE key_id IS NOT DISTINCT FROM $1::uuid AND archived_at IS NULL
ORDER BY last_message_at DESC, id DESC LIMIT 1
"""
COUNT_SESSIONS: Final = """
SELECT count(*)::bigint AS sessions FROM np_claw_sessions
WHERE key_id IS NOT DISTINCT FROM $1::uuid AND archived_at IS NULL
"""
# What was paid in the days from $1 to before $2, in billionths of a US dollar, without some requests.
PAID_USAGE: Final = """
SELECT key_id, sum(round(cost_usd * 1000000000))::bigint AS nano_usd
FROM np_claw_api_usage
WHERE day >= $1 AND day < $2 AND cost_usd > 0 AND request_id <> ALL ($3::uuid[])
GROUP BY key_id
"""
# The last $5 of those that were recorded within $4, with the attempt that the row is about; 0 where it is a verdict.
RECENT_PAID_USAGE: Final = """
SELECT request_id AS id, key_id, round(cost_usd * 1000000000)::bigint AS nano_usd,
    CASE WHEN error_code = 'orphaned' THEN 0 ELSE attempts END AS attempt
FROM np_claw_api_usage
WHERE day >= $1 AND day < $2 AND cost_usd > 0 AND request_id <> ALL ($3::uuid[]) AND recorded_at > now() - $4::interval
ORDER BY recorded_at DESC
LIMIT $5
"""
