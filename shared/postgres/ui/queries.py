"""SQL of the web UI, by name. Values are always bound."""

from __future__ import annotations

from typing import Final

READ_ACCESS: Final = "SELECT password_hash, generation::text AS generation FROM np_claw_web_ui"
# No row where there is a password already and $2 says that it stays.
CHANGE_ACCESS: Final = """
UPDATE np_claw_web_ui SET password_hash = $1, generation = gen_random_uuid(), changed_at = now()
WHERE NOT $2 OR password_hash IS NULL
RETURNING generation::text AS generation
"""
END_SESSIONS: Final = "UPDATE np_claw_web_ui SET generation = gen_random_uuid()"

# --- the chat ---
# A revoked key of ours gives its place to another: nothing has the secret of a random hash.
FREE_HASH: Final = """
UPDATE np_claw_api_keys SET key_hash = sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8'))
WHERE key_hash = $1 AND revoked_at IS NOT NULL
"""
# The costs of answers, which a session does not have.
COSTS: Final = """
SELECT request_id, cost_usd::float8 FROM np_claw_api_usage
WHERE request_id = ANY($1::uuid[]) AND day >= ($2::timestamptz AT TIME ZONE 'UTC')::date
"""
