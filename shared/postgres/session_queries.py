"""Every SQL statement about sessions, by name. Values are always bound."""

from __future__ import annotations

from typing import Final

FIND_SESSION: Final = """
SELECT
    id, key_id, title, auto_title, is_admin_mode, parent_session_id, message_count, created_at, last_message_at,
    archived_at
FROM np_claw_sessions WHERE id = $1
"""
# The newest whose JSON is at most $2 bytes together, and no more than $3, in their order; of what is older the
# instructions that a request began with last: those of all requests may be more than everything else.
HISTORY: Final = """
WITH counted AS (
    SELECT
        request_id, position, role, message, digest, state,
        position - min(position) OVER (PARTITION BY request_id) AS place,
        sum(octet_length(message)) OVER newest AS bytes_so_far,
        row_number() OVER newest AS number
    FROM np_claw_messages WHERE session_id = $1 AND superseded_by IS NULL
    WINDOW newest AS (ORDER BY position DESC)
)
SELECT request_id, position, place, role, message, digest, state FROM counted
WHERE (bytes_so_far <= $2 AND number <= $3)
    OR (
        role IN ('system', 'developer')
        AND request_id = (
            SELECT request_id FROM counted WHERE place = 0 AND role IN ('system', 'developer')
            ORDER BY position DESC LIMIT 1
        )
    )
ORDER BY position
"""

# --- writing a turn, in one transaction ---
# One at a time writes to a session, also before it exists.
WRITE_TO_SESSION: Final = "SELECT pg_advisory_xact_lock(hashtextextended('np_claw_session ' || $1::uuid::text, 0))"
BEGIN_SESSION: Final = """
INSERT INTO np_claw_sessions (id, key_id, is_admin_mode, created_at, last_message_at) VALUES ($1, $2, $3, $4, $4)
ON CONFLICT (id) DO NOTHING
"""
LOCK_SESSION: Final = "SELECT key_id FROM np_claw_sessions WHERE id = $1 FOR UPDATE"
# Where the messages of a request begin: at the place that they have already, else after all others.
FIRST_POSITION: Final = """
SELECT coalesce(min(position) FILTER (WHERE request_id = $2), max(position) + 1, 0)
FROM np_claw_messages WHERE session_id = $1
"""
FORGET_REQUEST: Final = "DELETE FROM np_claw_messages WHERE session_id = $1 AND request_id = $2"
# All that came after message $4 of request $3, counted from 0 in that request.
SUPERSEDE: Final = """
UPDATE np_claw_messages SET superseded_by = $2
WHERE session_id = $1 AND request_id <> $2 AND superseded_by IS NULL
    AND position > (SELECT min(position) + $4 FROM np_claw_messages WHERE session_id = $1 AND request_id = $3)
    AND position < $5
"""
ADD_MESSAGE: Final = """
INSERT INTO np_claw_messages (
    id, session_id, position, request_id, role, message, content, digest, state, tier_source, model_used, latency_ms,
    input_tokens, output_tokens, reasoning, created_at
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
"""
COUNT_MESSAGES: Final = """
UPDATE np_claw_sessions
SET message_count = (
        SELECT count(*) FROM np_claw_messages WHERE session_id = np_claw_sessions.id AND superseded_by IS NULL
    ),
    last_message_at = greatest(last_message_at, $2)
WHERE id = $1
"""

# --- retention ---
DELETE_OLD_SESSIONS: Final = """
DELETE FROM np_claw_sessions
WHERE id IN (SELECT id FROM np_claw_sessions WHERE last_message_at < $1 ORDER BY last_message_at LIMIT $2)
RETURNING 1
"""
