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
