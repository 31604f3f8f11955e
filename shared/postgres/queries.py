"""SQL statements of schema, keys, usage log, routing, prompts and accounts, by name. Values are always bound."""

from __future__ import annotations

from typing import Final

PING: Final = "SELECT 1"
# Asks the catalogue alone: the tables themselves may be large, locked or partitioned by the thousand.
LACKING_TABLES: Final = """
SELECT name, to_regclass(name) IS NULL AS is_missing FROM unnest($1::text[]) AS name
WHERE to_regclass(name) IS NULL OR NOT has_table_privilege(to_regclass(name), 'SELECT')
"""

# --- schema ---
# Locks of a transaction end with it, also where who holds them dies.
LOCK_SCHEMA: Final = "SELECT pg_advisory_xact_lock(hashtextextended('np_claw_schema', 0))"
FIND_TABLES: Final = """
SELECT to_regclass('np_claw_schema_version') IS NOT NULL AS stamps, to_regclass('np_claw_api_keys') IS NOT NULL AS keys
"""
SCHEMA_VERSION: Final = "SELECT max(version) FROM np_claw_schema_version"
STAMP_SCHEMA: Final = "INSERT INTO np_claw_schema_version (version) VALUES ($1)"

# --- keys ---
# No row where a key has this secret, or had it.
CREATE_KEY: Final = """
INSERT INTO np_claw_api_keys (
    name, key_hash, key_prefix, rpm_limit, admin_allowed, monthly_budget_usd, system_prompt_id, allowed_models,
    allowed_tiers, expires_at, tokens_per_minute, stream_comments
)
SELECT $1, $2, $3, $4, $5, $6::float8, $7, $8, $9, $10, $11, $12
WHERE NOT EXISTS (SELECT 1 FROM np_claw_retired_secrets WHERE key_hash = $2)
ON CONFLICT (key_hash) DO NOTHING
RETURNING
    id, name, key_prefix, rpm_limit, admin_allowed, monthly_budget_usd::float8, system_prompt_id::text,
    allowed_models, allowed_tiers, expires_at, tokens_per_minute, stream_comments, created_at, last_used_at, revoked_at
"""
LIST_KEYS: Final = """
SELECT
    id, name, key_prefix, rpm_limit, admin_allowed, monthly_budget_usd::float8, system_prompt_id::text,
    allowed_models, allowed_tiers, expires_at, tokens_per_minute, stream_comments, created_at, last_used_at, revoked_at
FROM np_claw_api_keys
WHERE $1 OR revoked_at IS NULL
ORDER BY revoked_at IS NOT NULL, created_at, id
"""
FIND_KEY: Final = """
SELECT
    id, name, key_prefix, rpm_limit, admin_allowed, monthly_budget_usd::float8, system_prompt_id::text,
    allowed_models, allowed_tiers, expires_at, tokens_per_minute, stream_comments, created_at, last_used_at, revoked_at,
    revision, (SELECT valid_until FROM np_claw_retired_secrets WHERE key_hash = $1) AS secret_until
FROM np_claw_api_keys
WHERE revoked_at IS NULL AND id = (
    SELECT id FROM np_claw_api_keys WHERE key_hash = $1
    UNION ALL SELECT key_id FROM np_claw_retired_secrets WHERE key_hash = $1
)
"""
FIND_KEY_BY_ID: Final = """
SELECT
    id, name, key_prefix, rpm_limit, admin_allowed, monthly_budget_usd::float8, system_prompt_id::text,
    allowed_models, allowed_tiers, expires_at, tokens_per_minute, stream_comments, created_at, last_used_at, revoked_at
FROM np_claw_api_keys WHERE id = $1 AND erased_at IS NULL
"""
# A null leaves a column as it is; $5, $7, $11 and $13: whether the value after it, which may become null, is meant.
UPDATE_KEY: Final = """
UPDATE np_claw_api_keys
SET name = coalesce($2, name), rpm_limit = coalesce($3, rpm_limit), admin_allowed = coalesce($4, admin_allowed),
    monthly_budget_usd = CASE WHEN $5 THEN $6::float8 ELSE monthly_budget_usd END,
    system_prompt_id = CASE WHEN $7 THEN $8 ELSE system_prompt_id END,
    allowed_models = coalesce($9, allowed_models), allowed_tiers = coalesce($10, allowed_tiers),
    expires_at = CASE WHEN $11 THEN $12 ELSE expires_at END,
    tokens_per_minute = CASE WHEN $13 THEN $14 ELSE tokens_per_minute END,
    stream_comments = coalesce($15, stream_comments), revision = revision + 1
WHERE id = $1 AND revoked_at IS NULL
RETURNING
    id, name, key_prefix, rpm_limit, admin_allowed, monthly_budget_usd::float8, system_prompt_id::text,
    allowed_models, allowed_tiers, expires_at, tokens_per_minute, stream_comments, created_at, last_used_at, revoked_at,
    revision
"""
# --- rotating a key's secret, in one transaction ---
LOCK_KEY: Final = "SELECT key_hash FROM np_claw_api_keys WHERE id = $1 AND revoked_at IS NULL FOR UPDATE"
IS_HASH_KNOWN: Final = """
SELECT EXISTS (SELECT 1 FROM np_claw_retired_secrets WHERE key_hash = $1)
    OR EXISTS (SELECT 1 FROM np_claw_api_keys WHERE key_hash = $1) AS is_known
"""
# Ended by no clock: the one that looks may be behind ours.
END_RETIRED: Final = """
UPDATE np_claw_retired_secrets SET valid_until = 'epoch' WHERE key_id = $1 AND valid_until > 'epoch'
"""
RETIRE_HASH: Final = """
INSERT INTO np_claw_retired_secrets (key_hash, key_id, valid_until)
VALUES ($1, $2, CASE WHEN $3 > 0 THEN now() + make_interval(secs => $3) ELSE 'epoch' END)
"""
SET_HASH: Final = """
UPDATE np_claw_api_keys SET key_hash = $2, key_prefix = $3, revision = revision + 1 WHERE id = $1
RETURNING
    id, name, key_prefix, rpm_limit, admin_allowed, monthly_budget_usd::float8, system_prompt_id::text,
    allowed_models, allowed_tiers, expires_at, tokens_per_minute, stream_comments, created_at, last_used_at, revoked_at,
    revision
"""
FIND_RETIRED: Final = """
SELECT valid_until FROM np_claw_retired_secrets WHERE key_id = $1 ORDER BY valid_until DESC LIMIT 1
"""
REVOKE_KEY: Final = """
UPDATE np_claw_api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE id = $1 RETURNING id
"""
# Locked in the order of ids, so that two recorders cannot deadlock.
TOUCH_KEYS: Final = """
WITH used AS (
    SELECT * FROM unnest($1::uuid[], $2::timestamptz[]) AS used (id, at)
), held AS (
    SELECT id FROM np_claw_api_keys WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE
)
UPDATE np_claw_api_keys AS keys SET last_used_at = greatest(keys.last_used_at, used.at)
FROM used JOIN held USING (id)
WHERE keys.id = used.id
"""

# --- system prompts ---
LOCK_SYSTEM_PROMPTS: Final = "LOCK TABLE np_claw_system_prompts IN SHARE ROW EXCLUSIVE MODE"
LIST_SYSTEM_PROMPTS: Final = """
SELECT id, name, content, is_default, created_at, updated_at FROM np_claw_system_prompts ORDER BY created_at, id
"""
CREATE_SYSTEM_PROMPT: Final = """
INSERT INTO np_claw_system_prompts (name, content, is_default) VALUES ($1, $2, $3)
RETURNING id, name, content, is_default, created_at, updated_at
"""
UPDATE_SYSTEM_PROMPT: Final = """
UPDATE np_claw_system_prompts
SET name = coalesce($2, name), content = coalesce($3, content), is_default = coalesce($4, is_default),
    updated_at = now()
WHERE id = $1
RETURNING id, name, content, is_default, created_at, updated_at
"""
KEEP_ONE_DEFAULT: Final = "UPDATE np_claw_system_prompts SET is_default = false WHERE is_default AND id <> $1"
REMOVE_SYSTEM_PROMPT: Final = "DELETE FROM np_claw_system_prompts WHERE id = $1 RETURNING id"

# --- audit log ---
# What an INSERT needs, without one.
CHECK_AUDIT: Final = "SELECT 1 FROM np_claw_audit_log WHERE false"
ADD_AUDIT: Final = "INSERT INTO np_claw_audit_log (operation, actor, details) VALUES ($1, $2, $3::jsonb)"
LIST_AUDIT: Final = """
SELECT id, operation, actor, created_at, details::text AS details FROM np_claw_audit_log
WHERE $1::bigint IS NULL OR id < $1 ORDER BY id DESC LIMIT $2
"""

# --- the installation ---
POSTGRES_VERSION: Final = """
SELECT current_setting('server_version') AS server, max(version) AS schema FROM np_claw_schema_version
"""
# A day more than an hour needs: `day` is UTC's, and `::date` goes by the session's time zone.
FAILED_LAST_HOUR: Final = """
SELECT status, error_code AS code, tier, model, sum(count)::bigint AS count FROM np_claw_api_usage
WHERE admitted_at > now() - interval '1 hour' AND day >= (now() - interval '1 hour')::date - 1 AND status >= 400
GROUP BY status, error_code, tier, model ORDER BY sum(count) DESC, status, error_code, tier, model LIMIT $1
"""
# The gateway's own, each day's partition of the usage log counted with the table that it is of.
# Of a table that was never analysed PostgreSQL says -1 rows.
OWN_TABLES: Final = """
SELECT
    class.relname AS name,
    (
        SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum)
        FROM pg_attribute WHERE attrelid = class.oid AND attnum > 0 AND NOT attisdropped
    ) AS columns,
    (
        CASE class.relkind
            WHEN 'p' THEN (
                SELECT coalesce(sum(greatest(part.reltuples, 0)), 0)
                FROM pg_inherits JOIN pg_class AS part ON part.oid = inhrelid WHERE inhparent = class.oid
            )
            ELSE greatest(class.reltuples, 0)
        END
    )::bigint AS rows_about
FROM pg_class AS class
WHERE class.relnamespace = current_schema()::regnamespace AND class.relkind IN ('r', 'p')
    AND NOT class.relispartition AND class.relname LIKE 'np\\_claw\\_%'
ORDER BY class.relname LIMIT $1
"""

# --- routing ---
# One change at a time, so that two together cannot leave `auto` without a tier. Readers do not wait.
LOCK_ROUTING: Final = "LOCK TABLE np_claw_routing IN SHARE ROW EXCLUSIVE MODE"
LIST_ROUTING: Final = "SELECT task_class, source_tier, priority, enabled FROM np_claw_routing"
SET_ROUTING: Final = """
INSERT INTO np_claw_routing (task_class, source_tier, priority, enabled) VALUES ($1, $2, $3, $4)
ON CONFLICT (task_class, source_tier) DO UPDATE SET priority = excluded.priority, enabled = excluded.enabled
"""

# --- usage ---
ENSURE_USAGE_DAY: Final = "SELECT np_claw_ensure_usage_day($1)"
# What comes late of an erased key is nobody's. A row that is there stays: the second writing of a record repeats the
# first. Only an orphaned row gives way, to a record that knows how the request really ended (Redis may forget, in a
# crash, that the request had been closed).
UPSERT_USAGE: Final = """
INSERT INTO np_claw_api_usage (
    day, request_id, key_id, endpoint, asked_model, model, tier, stream, status, error_code, prompt_tokens,
    completion_tokens, cached_tokens, reasoning_tokens, usage_source, cost_usd, attempts, wait_ms, first_token_ms,
    duration_ms, admitted_at, count, added_tokens, error_reason, purpose, story
)
SELECT * FROM unnest(
    $1::date[], $2::uuid[], (
        SELECT array_agg(CASE WHEN keys.erased_at IS NULL THEN used.id ELSE uuid_nil END ORDER BY used.n)
        FROM unnest($3::uuid[]) WITH ORDINALITY AS used (id, n)
        LEFT JOIN np_claw_api_keys AS keys ON keys.id = used.id
        CROSS JOIN (SELECT '00000000-0000-0000-0000-000000000000'::uuid AS uuid_nil) AS nobody
    ), $4::text[], $5::text[], $6::text[], $7::text[], $8::boolean[], $9::integer[],
    $10::text[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::text[], $16::float8[], $17::integer[],
    $18::bigint[], $19::bigint[], $20::bigint[], $21::timestamptz[],
    $22::integer[], $23::integer[], $24::text[], $25::text[], $26::text[]
)
ON CONFLICT (day, request_id) DO UPDATE SET
    key_id = excluded.key_id, endpoint = excluded.endpoint, asked_model = excluded.asked_model, model = excluded.model,
    tier = excluded.tier, stream = excluded.stream, status = excluded.status, error_code = excluded.error_code,
    prompt_tokens = excluded.prompt_tokens, completion_tokens = excluded.completion_tokens,
    cached_tokens = excluded.cached_tokens, reasoning_tokens = excluded.reasoning_tokens,
    usage_source = excluded.usage_source, cost_usd = excluded.cost_usd, attempts = excluded.attempts,
    wait_ms = excluded.wait_ms, first_token_ms = excluded.first_token_ms, duration_ms = excluded.duration_ms,
    admitted_at = excluded.admitted_at, count = excluded.count, added_tokens = excluded.added_tokens,
    error_reason = excluded.error_reason, purpose = excluded.purpose, story = excluded.story, recorded_at = now()
WHERE excluded.attempts > np_claw_api_usage.attempts
    OR (excluded.attempts = np_claw_api_usage.attempts AND (
        (np_claw_api_usage.error_code = 'orphaned' AND excluded.error_code IS DISTINCT FROM 'orphaned')
        OR excluded.count > np_claw_api_usage.count
    ))
"""
# Pages are by place, not by number: rows are added while somebody turns them.
LIST_USAGE: Final = """
SELECT
    usage.request_id, usage.key_id, keys.name AS key_name, usage.day, usage.endpoint, usage.model, usage.asked_model,
    usage.tier, usage.tier_source, usage.stream, usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens,
    usage.reasoning_tokens, usage.usage_source, usage.cost_usd, usage.status, usage.error_code, usage.attempts,
    usage.wait_ms, usage.first_token_ms, usage.duration_ms, usage.admitted_at, usage.count, usage.added_tokens,
    usage.error_reason, usage.purpose, usage.story
FROM np_claw_api_usage AS usage LEFT JOIN np_claw_api_keys AS keys ON keys.id = usage.key_id
WHERE ($1::uuid IS NULL OR usage.key_id = $1)
    AND (NOT $2 OR usage.key_id IS NULL)
    AND ($3::timestamptz IS NULL OR (usage.admitted_at, usage.request_id) < ($3, $4::uuid))
    AND ($6::uuid IS NULL OR usage.request_id = $6)
ORDER BY usage.admitted_at DESC, usage.request_id DESC
LIMIT $5
"""
OLD_USAGE_DAYS: Final = """
SELECT child.relname AS name FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
WHERE inhparent = 'np_claw_api_usage'::regclass AND child.relname ~ '^np_claw_api_usage_[0-9]{8}$'
    AND right(child.relname, 8) < to_char($1::date, 'YYYYMMDD')
ORDER BY child.relname
"""
# Of the days that had no partition of their own.
DELETE_OLD_USAGE: Final = "DELETE FROM np_claw_api_usage_default WHERE day < $1"
# Dropping a partition locks the whole table for a moment. Where a long query holds it, the next look tries again:
# whoever waited for that lock would let everybody else wait behind it. One at a time: two meet an internal error.
DROP_USAGE_DAY: Final = """
DO $$ BEGIN PERFORM pg_advisory_xact_lock(hashtextextended('np_claw_usage_days', 0));
    SET LOCAL lock_timeout = '1s';
    DROP TABLE IF EXISTS {name};
EXCEPTION WHEN lock_not_available THEN NULL;
END $$
"""

# --- Gemini accounts ---
LIST_GEMINI_ACCOUNTS: Final = """
SELECT id, account_email, project, requests_per_minute, prompt_tokens_per_minute, requests_per_day, enabled, created_at
FROM np_claw_gemini_accounts ORDER BY created_at, id
"""
HAS_GEMINI_ACCOUNTS: Final = "SELECT to_regclass('np_claw_gemini_accounts') IS NOT NULL AS has_table"
LIST_GEMINI_CREDENTIALS: Final = """
SELECT
    id, account_email, project, requests_per_minute, prompt_tokens_per_minute, requests_per_day,
    enabled, created_at, sealed_key
FROM np_claw_gemini_accounts ORDER BY created_at, id
"""
# No row where an account of this name is there already.
ADD_GEMINI_ACCOUNT: Final = """
INSERT INTO np_claw_gemini_accounts (
    account_email, project, sealed_key, requests_per_minute, prompt_tokens_per_minute, requests_per_day
)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (account_email) DO NOTHING
RETURNING
    id, account_email, project, requests_per_minute, prompt_tokens_per_minute, requests_per_day, enabled, created_at
"""
FIND_GEMINI_ACCOUNT: Final = """
SELECT id, account_email, project, requests_per_minute, prompt_tokens_per_minute, requests_per_day, enabled, created_at
FROM np_claw_gemini_accounts WHERE id::text = lower($1) OR account_email = $1
"""
# $2, $4, ...: whether the value after it is to be set.
CHANGE_GEMINI_ACCOUNT: Final = """
UPDATE np_claw_gemini_accounts SET
    enabled = CASE WHEN $2 THEN $3 ELSE enabled END,
    project = CASE WHEN $4 THEN $5 ELSE project END,
    requests_per_minute = CASE WHEN $6 THEN $7 ELSE requests_per_minute END,
    prompt_tokens_per_minute = CASE WHEN $8 THEN $9 ELSE prompt_tokens_per_minute END,
    requests_per_day = CASE WHEN $10 THEN $11 ELSE requests_per_day END,
    sealed_key = CASE WHEN $12 THEN $13 ELSE sealed_key END
WHERE id = $1
RETURNING
    id, account_email, project, requests_per_minute, prompt_tokens_per_minute, requests_per_day, enabled, created_at
"""
REMOVE_GEMINI_ACCOUNT: Final = "DELETE FROM np_claw_gemini_accounts WHERE id = $1"
