"""System prompts of the operator's own: np_claw_system_prompts."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final
from uuid import UUID

import asyncpg
import msgspec

from shared.postgres import queries

if TYPE_CHECKING:
    from shared.postgres.database import Database

MAX_CONTENT_CHARS: Final = 32_768
PromptName = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Content = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_CONTENT_CHARS)]


class SystemPrompt(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt as it is stored. One at the most `is_default`."""

    id: str
    name: str
    content: str
    is_default: bool
    created_at: datetime
    updated_at: datetime


class PromptChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change of a prompt; what is not given stays."""

    name: PromptName | msgspec.UnsetType = msgspec.UNSET
    content: Content | msgspec.UnsetType = msgspec.UNSET
    is_default: bool | msgspec.UnsetType = msgspec.UNSET


class NameTaken(Exception):
    """There is another prompt of this name."""


class SystemPromptStore:
    """The table. Every method raises `DatabaseUnavailable` while PostgreSQL cannot answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self) -> list[SystemPrompt]:
        """Return all prompts, in the order they were made."""
        return [_from_row(row) for row in await self._database.fetch(queries.LIST_SYSTEM_PROMPTS)]

    async def create(self, name: str, content: str, *, is_default: bool = False) -> SystemPrompt:
        """Create a prompt; a default takes the place of the one before it.

        Raises:
            NameTaken: there is one of this name.
        """
        row = await self._write(queries.CREATE_SYSTEM_PROMPT, is_default, name, content, is_default)
        if row is None:  # pragma: no cover -- RETURNING gives a row
            raise RuntimeError("INSERT returned no row")
        return _from_row(row)

    async def update(self, prompt_id: UUID, change: PromptChange) -> SystemPrompt | None:
        """Change a prompt; return it as it then is, None if there is none with this id.

        Raises:
            NameTaken: there is another one of this name.
        """
        values = [None if value is msgspec.UNSET else value for value in msgspec.structs.astuple(change)]
        row = await self._write(queries.UPDATE_SYSTEM_PROMPT, change.is_default is True, prompt_id, *values)
        return None if row is None else _from_row(row)

    async def remove(self, prompt_id: UUID) -> bool:
        """Remove a prompt; keys that had it have none of their own then. False if there is none with this id."""
        return await self._database.fetchrow(queries.REMOVE_SYSTEM_PROMPT, prompt_id) is not None

    async def _write(self, query: str, is_default: object, *values: object) -> asyncpg.Record | None:
        try:
            async with self._database.connection() as connection, connection.transaction():
                # One change at a time, so that two together cannot leave two defaults. Readers do not wait.
                await connection.execute(queries.LOCK_SYSTEM_PROMPTS)
                row = await connection.fetchrow(query, *values)
                if row is not None and is_default:
                    await connection.execute(queries.KEEP_ONE_DEFAULT, row["id"])
                return row
        except asyncpg.UniqueViolationError:
            raise NameTaken from None


def _from_row(row: asyncpg.Record) -> SystemPrompt:
    return SystemPrompt(**{**row, "id": str(row["id"])})
