"""The audit log: np_claw_audit_log, to which rows are only ever added (a trigger refuses all else)."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from shared.postgres import queries

if TYPE_CHECKING:
    from shared.postgres.database import Database

INTERNAL_ACTOR: Final = "internal"
"""Whoever has the internal token."""
UI_ACTOR: Final = "ui"
"""Whoever has the password of the web UI."""


class AuditEntry(msgspec.Struct, frozen=True):
    """An entry of the audit log. Its actor is the id of a key, `INTERNAL_ACTOR` or `UI_ACTOR`.

    Ids grow in the order in which rows were added.
    """

    id: str
    operation: str
    actor: str
    created_at: datetime
    details: dict[str, Any]


class AuditLog:
    """The table. Every method raises `DatabaseUnavailable` while PostgreSQL cannot answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def check(self) -> None:
        """Return if entries can be added now."""
        await self._database.execute(queries.CHECK_AUDIT)

    async def add(self, operation: str, actor: str, details: dict[str, Any]) -> None:
        """Add an entry.

        Args:
            operation: what was done.
            actor: who did it.
            details: what else is known, for JSON; must hold no secret, no prompt and no answer.
        """
        # PostgreSQL's JSON cannot hold NUL, which may stand in a path.
        text = msgspec.json.encode(details).decode().replace("\\u0000", "\ufffd")
        await self._database.execute(queries.ADD_AUDIT, operation, actor, text)

    async def list(self, limit: int, before: int | None = None) -> list[AuditEntry]:
        """Return entries, the newest first.

        Args:
            limit: how many at the most.
            before: only those with a smaller id.
        """
        rows = await self._database.fetch(queries.LIST_AUDIT, before, limit)
        return [
            AuditEntry(
                str(row["id"]), row["operation"], row["actor"], row["created_at"], msgspec.json.decode(row["details"])
            )
            for row in rows
        ]
