"""Access to the web UI: its password, and the generation of its sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from shared.postgres.ui import queries

if TYPE_CHECKING:
    from shared.postgres.database import Database


class Access(msgspec.Struct, frozen=True):
    """The argon2 hash of the password, None where none was set, and what sessions are signed with beside a secret."""

    password_hash: str | None
    generation: str


class AccessStore:
    """The table. Every method raises `DatabaseUnavailable` while PostgreSQL cannot answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self) -> Access:
        """Return what stands there."""
        row = await self._database.fetchrow(queries.READ_ACCESS)
        return Access(None, "") if row is None else Access(row["password_hash"], row["generation"])

    async def set_password(self, password_hash: str, *, only_first: bool = False) -> bool:
        """Set the password and end every session; return whether that was done.

        Args:
            password_hash: of argon2.
            only_first: whether a password that is there stays.
        """
        return await self._database.fetchrow(queries.CHANGE_ACCESS, password_hash, only_first) is not None

    async def end_sessions(self) -> None:
        await self._database.execute(queries.END_SESSIONS)
