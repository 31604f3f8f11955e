"""Every SQL statement about stored responses and conversations, by name. Values are always bound."""

from __future__ import annotations

from typing import Final

# --- responses. $2 is a key, null the internal token's. ---
FIND_RESPONSE: Final = """
SELECT id, key_id, previous_id, root_id, conversation_id, input, body, created_at FROM np_claw_responses
WHERE id = $1 AND key_id IS NOT DISTINCT FROM $2
"""
# A response and those before it, the first one first, up to $3 bytes together and $4 responses; one row more tells that
# there are more. `depth` counts from the response itself.
CHAIN: Final = """
WITH RECURSIVE chain AS (
    SELECT
        id, previous_id, root_id, conversation_id, input, body, created_at, 0 AS depth,
        (octet_length(input) + octet_length(body))::bigint AS bytes_so_far
    FROM np_claw_responses WHERE id = $1 AND key_id IS NOT DISTINCT FROM $2
    UNION ALL
    SELECT
        before.id, before.previous_id, before.root_id, before.conversation_id, before.input, before.body,
        before.created_at, depth + 1, bytes_so_far + octet_length(before.input) + octet_length(before.body)
    FROM chain JOIN np_claw_responses AS before ON before.id = chain.previous_id
    WHERE before.key_id IS NOT DISTINCT FROM $2 AND bytes_so_far <= $3 AND depth < $4
)
SELECT id, previous_id, root_id, conversation_id, input, body, created_at, bytes_so_far FROM chain ORDER BY depth DESC
"""
# Of each id the newest response that has it.
FIND_ITEMS: Final = """
SELECT input, body FROM np_claw_responses
WHERE key_id IS NOT DISTINCT FROM $1 AND item_ids && $2::text[] ORDER BY created_at DESC LIMIT $3
"""
# What is known better takes the place of what was known before.
UPSERT_RESPONSE: Final = """
INSERT INTO np_claw_responses (
    id, key_id, previous_id, root_id, conversation_id, input, body, item_ids, created_at
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (id) DO UPDATE SET input = excluded.input, body = excluded.body, item_ids = excluded.item_ids
"""
DELETE_RESPONSE: Final = """
DELETE FROM np_claw_responses WHERE id = $1 AND key_id IS NOT DISTINCT FROM $2 RETURNING 1
"""
# A chain stays for as long as its newest response.
DELETE_OLD_RESPONSES: Final = """
DELETE FROM np_claw_responses
WHERE id IN (
    SELECT id FROM np_claw_responses AS old
    WHERE created_at < $1
        AND NOT EXISTS (
            SELECT FROM np_claw_responses AS newer WHERE newer.root_id = old.root_id AND newer.created_at >= $1
        )
    ORDER BY created_at LIMIT $2
)
RETURNING 1
"""

# --- conversations ---
CREATE_CONVERSATION: Final = """
INSERT INTO np_claw_conversations (id, key_id, metadata) VALUES ($1, $2, $3) RETURNING id, metadata, created_at
"""
FIND_CONVERSATION: Final = """
SELECT id, metadata, created_at FROM np_claw_conversations WHERE id = $1 AND key_id IS NOT DISTINCT FROM $2
"""
UPDATE_CONVERSATION: Final = """
UPDATE np_claw_conversations SET metadata = $3, last_used_at = now()
WHERE id = $1 AND key_id IS NOT DISTINCT FROM $2 RETURNING id, metadata, created_at
"""
DELETE_CONVERSATION: Final = """
DELETE FROM np_claw_conversations WHERE id = $1 AND key_id IS NOT DISTINCT FROM $2 RETURNING 1
"""
DELETE_OLD_CONVERSATIONS: Final = """
DELETE FROM np_claw_conversations
WHERE id IN (SELECT id FROM np_claw_conversations WHERE last_used_at < $1 ORDER BY last_used_at LIMIT $2)
RETURNING 1
"""
# Also says that somebody writes to it: the row is locked until the transaction ends.
LOCK_CONVERSATION: Final = """
UPDATE np_claw_conversations SET last_used_at = now()
WHERE id = $1 AND key_id IS NOT DISTINCT FROM $2 RETURNING id, metadata, created_at
"""
# The next position is no count: an item that was deleted leaves a gap.
COUNT_ITEMS: Final = """
SELECT count(*) AS items, coalesce(sum(octet_length(item)), 0)::bigint AS bytes, coalesce(max(position) + 1, 0) AS next
FROM np_claw_conversation_items WHERE conversation_id = $1
"""
ADD_ITEM: Final = """
INSERT INTO np_claw_conversation_items (conversation_id, position, response_id, id, item) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (conversation_id, id) DO NOTHING
"""
FORGET_RESPONSE: Final = "DELETE FROM np_claw_conversation_items WHERE conversation_id = $1 AND response_id = $2"
# A page of them, after the item $2 or, where that is null, from the end at which the order begins.
_PAGE = """
SELECT response_id, id, item FROM np_claw_conversation_items
WHERE conversation_id = $1 AND ($2::text IS NULL OR position {0} (
    SELECT position FROM np_claw_conversation_items WHERE conversation_id = $1 AND id = $2
))
ORDER BY position {1} LIMIT $3
"""
OLDEST_ITEMS: Final = _PAGE.format(">", "ASC")
NEWEST_ITEMS: Final = _PAGE.format("<", "DESC")
FIND_ITEM: Final = """
SELECT response_id, id, item FROM np_claw_conversation_items WHERE conversation_id = $1 AND id = $2
"""
STORED_OF: Final = """
SELECT DISTINCT response_id FROM np_claw_conversation_items WHERE conversation_id = $1 AND response_id = ANY($2::uuid[])
"""
LIST_ITEMS: Final = """
SELECT response_id, id, item FROM np_claw_conversation_items WHERE conversation_id = $1 ORDER BY position
"""
DELETE_ITEM: Final = "DELETE FROM np_claw_conversation_items WHERE conversation_id = $1 AND id = $2 RETURNING 1"
