"""Gemini accounts that are added at run time: the table, and what workers publish in Redis of those they have."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import UUID

import msgspec

from shared.postgres import queries
from shared.redis.names import GEMINI_ACCOUNTS

if TYPE_CHECKING:
    from collections.abc import Iterable

    import asyncpg
    from redis.asyncio import Redis

    from shared.postgres.database import Database

NEWS: Final = b"accounts"
"""Published when accounts were added, changed or removed."""
STALE_S: Final = 90.0
"""An account that no worker has named for so long is not there any more."""
MAX_LIMIT: Final = 2_147_483_647  # of PostgreSQL's integer


class StoredAccount(msgspec.Struct, frozen=True, kw_only=True):
    """A row, without its key. Limits that are None are those of the model's catalogue entry."""

    id: str
    account_email: str
    project: str | None
    requests_per_minute: int | None
    prompt_tokens_per_minute: int | None
    requests_per_day: int | None
    enabled: bool
    created_at: datetime


class AccountChange(msgspec.Struct, frozen=True, kw_only=True):
    """A change of an account; UNSET stays, None of a project or a limit removes it."""

    enabled: bool | msgspec.UnsetType = msgspec.UNSET
    project: str | msgspec.UnsetType | None = msgspec.UNSET
    requests_per_minute: int | msgspec.UnsetType | None = msgspec.UNSET
    prompt_tokens_per_minute: int | msgspec.UnsetType | None = msgspec.UNSET
    requests_per_day: int | msgspec.UnsetType | None = msgspec.UNSET
    sealed_key: bytes | msgspec.UnsetType = msgspec.UNSET


class KnownAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account as a worker has it.

    Args:
        id: its name in Redis.
        account_email: its name for people; of an account of the environment, the variable's.
        source: where its key is from.
        scope: what its quotas are counted by.
        project: the Google Cloud project, if that is named.
        fingerprint: tells its key from another one.
        can_open: whether the worker could open its key.
        seen_ms: when the worker said so, in ms since 1970.
    """

    id: str
    account_email: str
    source: Literal["environment", "stored"]
    scope: str = ""
    project: str | None = None
    fingerprint: str = ""
    can_open: bool = True
    seen_ms: int = 0


class GeminiAccountStore:
    """The table. Every method raises `DatabaseUnavailable` while PostgreSQL cannot answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def is_there(self) -> bool:
        """Return whether the table is there: not before an api or a recorder has made the schema, at a first start."""
        row = await self._database.fetchrow(queries.HAS_GEMINI_ACCOUNTS)
        return row is not None and bool(row["has_table"])

    async def rows(self) -> list[StoredAccount]:
        """Return all accounts, the oldest first."""
        return [_from_row(row) for row in await self._database.fetch(queries.LIST_GEMINI_ACCOUNTS)]

    async def credentials(self) -> list[tuple[StoredAccount, bytes]]:
        """Return all accounts with their sealed keys."""
        rows = await self._database.fetch(queries.LIST_GEMINI_CREDENTIALS)
        return [(_from_row(row), row["sealed_key"]) for row in rows]

    async def add(
        self, account_email: str, project: str | None, sealed_key: bytes, limits: Iterable[int | None]
    ) -> StoredAccount | None:
        """Add an account; None if there is one of this name.

        Args:
            account_email: its name.
            project: the Google Cloud project whose quota it uses.
            sealed_key: for the workers.
            limits: requests a minute, prompt tokens a minute, requests a day.
        """
        row = await self._database.fetchrow(queries.ADD_GEMINI_ACCOUNT, account_email, project, sealed_key, *limits)
        return None if row is None else _from_row(row)

    async def find(self, name: str) -> StoredAccount | None:
        """Return the account with this id or name."""
        row = await self._database.fetchrow(queries.FIND_GEMINI_ACCOUNT, name)
        return None if row is None else _from_row(row)

    async def change(self, account_id: str, change: AccountChange) -> StoredAccount | None:
        """Change an account; return it as it then is, None if it is gone."""
        values: list[Any] = []
        for field in AccountChange.__struct_fields__:
            value = getattr(change, field)
            values += [False, None] if value is msgspec.UNSET else [True, value]
        row = await self._database.fetchrow(queries.CHANGE_GEMINI_ACCOUNT, UUID(account_id), *values)
        return None if row is None else _from_row(row)

    async def remove(self, account_id: str) -> None:
        """Remove an account for good."""
        await self._database.execute(queries.REMOVE_GEMINI_ACCOUNT, UUID(account_id))


async def publish_known(redis: Redis, accounts: Iterable[KnownAccount]) -> None:
    """Publish the accounts that this worker has. One that it cannot open does not hide that another worker can.

    Raises:
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    now_ms = int(time.time() * 1000)
    fields = {
        # A field of its own, so that a worker with the right key is not overwritten by one with another.
        account.id if account.can_open else f"{account.id} sealed": msgspec.json.encode(
            msgspec.structs.replace(account, seen_ms=now_ms)
        )
        for account in accounts
    }
    if fields:
        await redis.hset(GEMINI_ACCOUNTS, mapping=fields)  # type: ignore[misc]  # typed for both clients


async def known_accounts(redis: Redis) -> dict[str, KnownAccount]:
    """Return the accounts that live workers have, by id.

    Raises:
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    fields: dict[bytes, bytes] = await redis.hgetall(GEMINI_ACCOUNTS)  # type: ignore[misc]  # typed for both clients
    oldest_ms = (time.time() - STALE_S) * 1000
    known: dict[str, KnownAccount] = {}
    stale: list[str] = []
    for field, raw in fields.items():
        account = msgspec.json.decode(raw, type=KnownAccount)
        if account.seen_ms < oldest_ms:
            stale.append(field.decode())
        elif account.can_open or account.id not in known:
            known[account.id] = account
    if stale:
        # Whoever reads cleans up: workers that die cannot.
        await redis.hdel(GEMINI_ACCOUNTS, *stale)  # type: ignore[misc]  # typed for both clients
    return known


def _from_row(row: asyncpg.Record) -> StoredAccount:
    fields = {name: row[name] for name in StoredAccount.__struct_fields__}
    return StoredAccount(**{**fields, "id": str(row["id"])})
