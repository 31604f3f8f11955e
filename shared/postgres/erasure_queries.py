"""The SQL statements that give out, and take away, all that is known of a key. Values are always bound."""

from __future__ import annotations

from typing import Final

# A key's rows of usage stay for their sums, under this id of nobody. (A null key_id is the internal token's.)
ANONYMISE_USAGE: Final = """
UPDATE np_claw_api_usage SET key_id = '00000000-0000-0000-0000-000000000000', error_reason = NULL
WHERE (day, request_id) IN (SELECT day, request_id FROM np_claw_api_usage WHERE key_id = $1 LIMIT $2)
RETURNING 1
"""
ANONYMISE_LATE_USAGE: Final = """
UPDATE np_claw_api_usage SET key_id = '00000000-0000-0000-0000-000000000000', error_reason = NULL
WHERE key_id = ANY (ARRAY(SELECT id FROM np_claw_api_keys WHERE erased_at IS NOT NULL))
"""
DELETE_SESSIONS: Final = """
DELETE FROM np_claw_sessions WHERE id IN (SELECT id FROM np_claw_sessions WHERE key_id = $1 LIMIT $2) RETURNING 1
"""
DELETE_RESPONSES: Final = """
DELETE FROM np_claw_responses WHERE id IN (SELECT id FROM np_claw_responses WHERE key_id = $1 LIMIT $2) RETURNING 1
"""
DELETE_CONVERSATIONS: Final = """
DELETE FROM np_claw_conversations
WHERE id IN (SELECT id FROM np_claw_conversations WHERE key_id = $1 LIMIT $2) RETURNING 1
"""
DELETE_RETIRED: Final = "DELETE FROM np_claw_retired_secrets WHERE key_id = $1"
# Its row stays, without a name: what comes late of it has to be known as an erased key's.
ERASE_KEY: Final = """
UPDATE np_claw_api_keys
SET name = '(erased)', key_prefix = '', system_prompt_id = NULL, last_used_at = NULL, allowed_models = '{}',
    revoked_at = coalesce(revoked_at, now()), erased_at = coalesce(erased_at, now())
WHERE id = $1 RETURNING erased_at
"""
ERASE_FROM_AUDIT: Final = "SELECT np_claw_erase_from_audit($1) AS entries"

# --- export, in pages ---
EXPORTED_KEY: Final = """
SELECT
    id, name, key_prefix, rpm_limit, tokens_per_minute, stream_comments, admin_allowed, monthly_budget_usd::float8,
    system_prompt_id, allowed_models, allowed_tiers, expires_at, created_at, last_used_at, revoked_at, erased_at
FROM np_claw_api_keys WHERE id = $1
"""
EXPORTED_SESSIONS: Final = """
SELECT id, title, auto_title, is_admin_mode, parent_session_id, message_count, created_at, last_message_at, archived_at
FROM np_claw_sessions WHERE key_id = $1 AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3
"""
EXPORTED_MESSAGES: Final = """
SELECT
    id, position, request_id, role, message, state, superseded_by, tier_source, model_used, latency_ms, input_tokens,
    output_tokens, created_at
FROM np_claw_messages WHERE session_id = $1 AND position > $2 ORDER BY position LIMIT $3
"""
EXPORTED_RESPONSES: Final = """
SELECT id, previous_id, conversation_id, input, body, created_at FROM np_claw_responses
WHERE key_id = $1 AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3
"""
EXPORTED_CONVERSATIONS: Final = """
SELECT id, metadata, created_at, last_used_at FROM np_claw_conversations
WHERE key_id = $1 AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3
"""
EXPORTED_ITEMS: Final = """
SELECT position, response_id, id, item FROM np_claw_conversation_items
WHERE conversation_id = $1 AND position > $2 ORDER BY position LIMIT $3
"""
