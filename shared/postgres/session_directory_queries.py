"""Every SQL statement by which stored chats are looked through and tidied up, by name. Values are always bound."""

from __future__ import annotations

from typing import Final

MOST_HITS: Final = 5000
"""Number of matching messages and titles that a search looks at."""

_COLUMNS: Final = """
    id, key_id, title, auto_title, is_admin_mode, parent_session_id, message_count, created_at, last_message_at,
    archived_at
"""
# The first words that a user said stand for a title where there is none.
_OPENING: Final = """
    (
        SELECT left(content, 400) FROM np_claw_messages
        WHERE session_id = np_claw_sessions.id AND role = 'user' AND superseded_by IS NULL ORDER BY position LIMIT 1
    ) AS opening
"""
# $1: a key, $2: the internal token's only, $3: archived or not; null: all.
_WANTED: Final = """
    ($1::uuid IS NULL OR key_id = $1) AND (NOT $2 OR key_id IS NULL)
    AND ($3::boolean IS NULL OR (archived_at IS NOT NULL) = $3)
"""
FIND_SESSION: Final = f"SELECT {_COLUMNS}, {_OPENING} FROM np_claw_sessions WHERE id = $1"  # noqa: S608 -- as above
LIST_SESSIONS: Final = f"""
SELECT {_COLUMNS}, {_OPENING} FROM np_claw_sessions
WHERE {_WANTED} AND ($4::timestamptz IS NULL OR (last_message_at, id) < ($4, $5::uuid))
ORDER BY last_message_at DESC, id DESC LIMIT $6
"""  # noqa: S608 -- made of the constants above
# Excerpts are made for what is shown alone: each reads a whole text.
# No more of a text is indexed than these 65536 characters (schema.sql).
SEARCH_SESSIONS: Final = f"""
WITH
    asked AS (SELECT websearch_to_tsquery('simple', $4) AS words),
    wanted AS (SELECT {_COLUMNS} FROM np_claw_sessions WHERE {_WANTED}),
    hits AS (
        SELECT session_id, np_claw_messages.id, position, ts_rank(search, words) AS rank
        FROM np_claw_messages JOIN wanted ON wanted.id = session_id, asked
        WHERE search @@ words AND superseded_by IS NULL LIMIT {MOST_HITS}
    ),
    best AS (
        SELECT DISTINCT ON (session_id) session_id, id AS message_id, rank FROM hits
        ORDER BY session_id, rank DESC, position DESC
    ),
    titled AS (
        SELECT np_claw_sessions.id FROM np_claw_sessions, asked
        WHERE to_tsvector('simple', coalesce(title, '') || ' ' || coalesce(auto_title, '')) @@ words LIMIT {MOST_HITS}
    ),
    found AS (
        SELECT wanted.*, message_id, coalesce(rank, 0) + (titled.id IS NOT NULL)::integer AS fit FROM wanted
        LEFT JOIN best ON best.session_id = wanted.id LEFT JOIN titled ON titled.id = wanted.id
        WHERE message_id IS NOT NULL OR titled.id IS NOT NULL
        ORDER BY fit DESC, last_message_at DESC, wanted.id DESC LIMIT $5
    )
SELECT
    found.*,
    (
        SELECT left(content, 400) FROM np_claw_messages
        WHERE session_id = found.id AND role = 'user' AND superseded_by IS NULL ORDER BY position LIMIT 1
    ) AS opening,
    (SELECT count(*) FROM hits) = {MOST_HITS} AS is_partial,
    coalesce(ts_headline(
        'simple', left(content, 65536), words, 'StartSel="", StopSel="", MinWords=10, MaxWords=30, MaxFragments=1'
    ), '') AS excerpt
FROM found LEFT JOIN np_claw_messages ON np_claw_messages.id = message_id, asked
ORDER BY fit DESC, found.last_message_at DESC, found.id DESC
"""  # noqa: S608 -- made of the constants above

_MESSAGE: Final = """
    id, position, request_id, role, message, content, state, superseded_by, tier_source, model_used, latency_ms,
    input_tokens, output_tokens, reasoning, created_at
"""
FIND_MESSAGE: Final = "SELECT position FROM np_claw_messages WHERE session_id = $1 AND id = $2"
# Of the next $3 messages before a place, the newest first, those that have at most $4 bytes together, or the first.
LIST_MESSAGES: Final = f"""
SELECT {_MESSAGE} FROM (
    SELECT
        {_MESSAGE},
        sum(octet_length(message) + octet_length(content) + coalesce(octet_length(reasoning), 0))
            OVER (ORDER BY position DESC) AS bytes_so_far,
        row_number() OVER (ORDER BY position DESC) AS number
    FROM (
        SELECT * FROM np_claw_messages
        WHERE session_id = $1 AND superseded_by IS NULL AND ($2::integer IS NULL OR position < $2)
        ORDER BY position DESC LIMIT $3
    ) AS next
) AS counted
WHERE bytes_so_far <= $4 OR number = 1 ORDER BY position DESC
"""  # noqa: S608 -- made of the constants above
EXPORT_MESSAGES: Final = f"""
SELECT {_MESSAGE} FROM np_claw_messages WHERE session_id = $1 AND position > $2 ORDER BY position LIMIT $3
"""  # noqa: S608 -- made of the constants above

UPDATE_SESSION: Final = f"""
UPDATE np_claw_sessions SET
    title = CASE WHEN $2 THEN $3 ELSE title END,
    archived_at = CASE WHEN $4::boolean IS NULL THEN archived_at WHEN $4 THEN coalesce(archived_at, now()) END
WHERE id = $1 RETURNING {_COLUMNS}, {_OPENING}
"""  # noqa: S608 -- made of the constants above
FIRST_REQUEST: Final = """
SELECT request_id FROM np_claw_messages WHERE session_id = $1 ORDER BY position LIMIT 1
"""
HAS_SESSION: Final = "SELECT true FROM np_claw_sessions WHERE id = $1"
REMOVE_SESSION: Final = "DELETE FROM np_claw_sessions WHERE id = $1"
# On only where its key is an admin's now; the internal token is one always.
SET_ADMIN_MODE: Final = """
UPDATE np_claw_sessions SET is_admin_mode = $2
WHERE id = $1 AND (
    NOT $2 OR key_id IS NULL
    OR EXISTS (SELECT FROM np_claw_api_keys AS keys WHERE keys.id = key_id AND admin_allowed AND revoked_at IS NULL)
)
RETURNING id
"""

# --- a branch: a new session $2 of session $1, with its messages up to a place ---
# Held until its messages are copied: of a session deleted meanwhile the branch would be empty.
BEGIN_BRANCH: Final = """
INSERT INTO np_claw_sessions (id, key_id, title, auto_title, parent_session_id)
SELECT $2, key_id, title, auto_title, id FROM np_claw_sessions WHERE id = $1 FOR KEY SHARE RETURNING id
"""
# The results of calls that the last message makes belong to it.
BRANCH_END: Final = """
SELECT coalesce(min(position) FILTER (WHERE role <> 'tool' AND role <> 'function') - 1, max(position), $2)
FROM np_claw_messages WHERE session_id = $1 AND superseded_by IS NULL AND position > $2
"""
COPY_MESSAGES: Final = """
INSERT INTO np_claw_messages (
    id, session_id, position, request_id, role, message, content, digest, state, tier_source, model_used, latency_ms,
    input_tokens, output_tokens, reasoning, created_at
)
SELECT
    gen_random_uuid(), $2, position, request_id, role, message, content, digest, state, tier_source, model_used,
    latency_ms, input_tokens, output_tokens, reasoning, created_at
FROM np_claw_messages WHERE session_id = $1 AND superseded_by IS NULL AND ($3::integer IS NULL OR position <= $3)
"""
END_BRANCH: Final = f"""
UPDATE np_claw_sessions
SET message_count = (SELECT count(*) FROM np_claw_messages WHERE session_id = $1)
WHERE id = $1 RETURNING {_COLUMNS}, {_OPENING}
"""  # noqa: S608 -- made of the constants above

# --- titles ---
UNTITLED_SESSIONS: Final = """
SELECT
    id, key_id,
    (
        SELECT left(content, 2000) FROM np_claw_messages
        WHERE session_id = np_claw_sessions.id AND role = 'user' AND superseded_by IS NULL ORDER BY position LIMIT 1
    ) AS question,
    (
        SELECT left(content, 1000) FROM np_claw_messages
        WHERE session_id = np_claw_sessions.id AND role = 'assistant' AND content <> '' AND superseded_by IS NULL
        ORDER BY position LIMIT 1
    ) AS answer
FROM np_claw_sessions
WHERE auto_title IS NULL AND title IS NULL AND message_count > 1 ORDER BY last_message_at DESC LIMIT $1
"""
SET_AUTO_TITLE: Final = "UPDATE np_claw_sessions SET auto_title = $2 WHERE id = $1 AND auto_title IS NULL"
