"""Gateway API keys: made here, stored as SHA-256, shown in full once."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final, TypeVar
from uuid import UUID

import asyncpg
import msgspec

from shared.postgres import queries
from shared.settings import MAX_RPM_LIMIT
from shared.types import TIERS, Tier

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.postgres.database import Database

KEY_START: Final = "sk-nself-"
CHAT_KEY: Final = "web-ui"
"""Name of the web UI's chat key, and the text in place of the start of its secret."""
CHAT_KEY_HASH: Final = CHAT_KEY.encode().ljust(32, b"\0")
"""The hash of no secret that anybody could find: it is only found by us."""
DEFAULT_RPM_LIMIT: Final = 60
MAX_TOKENS_PER_MINUTE: Final = 60_000_000
"""One a microsecond, the least that Redis' clock tells apart."""
MAX_BUDGET_USD: Final = 1_000_000
"""Billionths of it are exact in Redis' scripts, whose numbers are exact up to 2**53."""
DEFAULT_GRACE_S: Final = 24 * 3600
MAX_GRACE_S: Final = 30 * 24 * 3600
KeyName = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
RpmLimit = Annotated[int, msgspec.Meta(ge=1, le=MAX_RPM_LIMIT)]
TokensPerMinute = Annotated[int, msgspec.Meta(ge=1, le=MAX_TOKENS_PER_MINUTE)]
BudgetUsd = Annotated[float, msgspec.Meta(ge=0, le=MAX_BUDGET_USD)]
ModelPattern = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
ModelPatterns = Annotated[tuple[ModelPattern, ...], msgspec.Meta(max_length=100)]
Tiers = Annotated[tuple[Tier, ...], msgspec.Meta(max_length=len(TIERS))]
GraceSeconds = Annotated[int, msgspec.Meta(ge=0, le=MAX_GRACE_S)]
Expiry = Annotated[datetime, msgspec.Meta(tz=True)]
_SHOWN_CHARACTERS: Final = len(KEY_START) + 6
_SECRET_BYTES: Final = 32
_Value = TypeVar("_Value")


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is stored, without the secret.

    `rpm_limit` is in requests per minute, and `tokens_per_minute` bounds prompts and answers together, None: no such
    bound; `monthly_budget_usd`, in US dollars, bounds what it may spend at paid APIs
    in a month of UTC: None is no bound of its own, 0 no paid use. `system_prompt_id` is a prompt of its own; None: the
    default. `allowed_models` (patterns of names) and `allowed_tiers` are empty for all; from `expires_at` on it is
    refused. Without `stream_comments` its streams have no comments (SSE's lines that begin with a colon).
    """

    id: str
    name: str
    key_prefix: str
    rpm_limit: int
    tokens_per_minute: int | None = None
    stream_comments: bool = True
    admin_allowed: bool
    monthly_budget_usd: float | None = None
    system_prompt_id: str | None = None
    allowed_models: tuple[str, ...] = ()
    allowed_tiers: tuple[Tier, ...] = ()
    expires_at: datetime | None = None
    created_at: datetime
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None
    revision: int = 0
    """Number of times that it was changed."""
    secret_until: datetime | None = None
    """Until when the secret opens it by which it was found, where a rotation took that from it."""

    @property
    def is_active(self) -> bool:
        """Return whether requests with it are accepted."""
        return self.revoked_at is None

    @property
    def is_built_in(self) -> bool:
        """Return whether it is the web UI's own, which has no secret."""
        return self.key_prefix == CHAT_KEY


class KeyChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change of a key; what is not given stays. A bound or prompt of None is removed."""

    name: KeyName | msgspec.UnsetType = msgspec.UNSET
    rpm_limit: RpmLimit | msgspec.UnsetType = msgspec.UNSET
    admin_allowed: bool | msgspec.UnsetType = msgspec.UNSET
    monthly_budget_usd: BudgetUsd | msgspec.UnsetType | None = msgspec.UNSET
    system_prompt_id: UUID | msgspec.UnsetType | None = msgspec.UNSET
    allowed_models: ModelPatterns | msgspec.UnsetType = msgspec.UNSET
    allowed_tiers: Tiers | msgspec.UnsetType = msgspec.UNSET
    expires_at: Expiry | msgspec.UnsetType | None = msgspec.UNSET
    tokens_per_minute: TokensPerMinute | msgspec.UnsetType | None = msgspec.UNSET
    stream_comments: bool | msgspec.UnsetType = msgspec.UNSET

    @property
    def is_any(self) -> bool:
        """Return whether anything is given."""
        return any(value is not msgspec.UNSET for value in msgspec.structs.astuple(self))


class SecretKnown(Exception):
    """A key was to have a secret that one has or had."""


class UnknownPrompt(Exception):
    """A key was to have a system prompt that there is not."""


def new_secret() -> str:
    """Return a new key as its owner sees it: 256 random bits, letters and digits after `sk-nself-`."""
    return KEY_START + secrets.token_hex(_SECRET_BYTES)


def hash_secret(secret: str) -> bytes:
    """Return what is stored of a key: the SHA-256 of the whole of it. A fast hash is enough for 256 random bits."""
    # A client may send anything, half of a surrogate pair too.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


class KeyStore:
    """The keys in the database. Every method raises `DatabaseUnavailable` while PostgreSQL cannot answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self,
        name: str,
        *,
        rpm_limit: int = DEFAULT_RPM_LIMIT,
        admin_allowed: bool = False,
        monthly_budget_usd: float | None = None,
        system_prompt_id: UUID | None = None,
        allowed_models: Sequence[str] = (),
        allowed_tiers: Sequence[Tier] = (),
        expires_at: datetime | None = None,
        tokens_per_minute: int | None = None,
        stream_comments: bool = True,
        secret: str = "",
    ) -> tuple[ApiKey, str]:
        """Create a key; return it and its secret, which is stored nowhere. With a `secret` of its own it is made once.

        Raises:
            UnknownPrompt: there is no such system prompt.
            SecretKnown: the secret is that of a key which is revoked, or was taken from one.
        """
        secret = secret or new_secret()
        row = await self._write(
            queries.CREATE_KEY,
            name,
            hash_secret(secret),
            # Enough to recognise a key by in a list, and far too little to guess it.
            secret[:_SHOWN_CHARACTERS],
            rpm_limit,
            admin_allowed,
            monthly_budget_usd,
            system_prompt_id,
            allowed_models,
            allowed_tiers,
            expires_at,
            tokens_per_minute,
            stream_comments,
        )
        if row is not None:
            return _from_row(row), secret
        made = await self.find_by_hash(hash_secret(secret))
        if made is None or made.secret_until is not None:
            raise SecretKnown
        return made, secret

    async def list(self, *, include_revoked: bool = False) -> list[ApiKey]:
        """Return all keys: the active ones in the order they were made, then the revoked ones if they are wanted."""
        return [_from_row(row) for row in await self._database.fetch(queries.LIST_KEYS, include_revoked)]

    async def find_by_hash(self, key_hash: bytes) -> ApiKey | None:
        """Return the active key that has or had the secret of this hash; None for an unknown or a revoked one."""
        row = await self._database.fetchrow(queries.FIND_KEY, key_hash)
        return None if row is None else _from_row(row)

    async def find(self, key_id: str) -> ApiKey | None:
        """Return the key with this id, also a revoked one; None where there is none."""
        try:
            uuid = UUID(key_id)
        except ValueError:
            return None
        row = await self._database.fetchrow(queries.FIND_KEY_BY_ID, uuid)
        return None if row is None else _from_row(row)

    async def update(self, key_id: str, change: KeyChange) -> ApiKey | None:
        """Change a key; return it as it then is, None if there is no active key with this id.

        Raises:
            UnknownPrompt: there is no such system prompt.
        """
        try:
            uuid = UUID(key_id)
        except ValueError:
            return None
        row = await self._write(
            queries.UPDATE_KEY,
            uuid,
            _given(change.name),
            _given(change.rpm_limit),
            _given(change.admin_allowed),
            change.monthly_budget_usd is not msgspec.UNSET,
            _given(change.monthly_budget_usd),
            change.system_prompt_id is not msgspec.UNSET,
            _given(change.system_prompt_id),
            _given(change.allowed_models),
            _given(change.allowed_tiers),
            change.expires_at is not msgspec.UNSET,
            _given(change.expires_at),
            change.tokens_per_minute is not msgspec.UNSET,
            _given(change.tokens_per_minute),
            _given(change.stream_comments),
        )
        return None if row is None else _from_row(row)

    async def _write(self, query: str, *values: object) -> asyncpg.Record | None:
        try:
            return await self._database.fetchrow(query, *values)
        except asyncpg.ForeignKeyViolationError:
            raise UnknownPrompt from None

    async def rotate(self, key_id: str, secret: str, grace_s: int) -> tuple[ApiKey, datetime] | None:
        """Give a key another secret; the one before is valid for `grace_s` seconds more, and no older one is.

        A second time with the same secret changes nothing.

        Returns:
            The key, and until when the secret before is valid; None if there is no active key with this id.

        Raises:
            SecretKnown: a key had this secret before.
        """
        try:
            uuid = UUID(key_id)
        except ValueError:
            return None
        key_hash = hash_secret(secret)
        async with self._database.connection() as connection, connection.transaction():
            held = await connection.fetchval(queries.LOCK_KEY, uuid)
            if held is None:
                return None
            if held != key_hash:
                if await connection.fetchval(queries.IS_HASH_KNOWN, key_hash):
                    raise SecretKnown
                await connection.execute(queries.END_RETIRED, uuid)
                await connection.execute(queries.RETIRE_HASH, held, uuid, grace_s)
            (row,) = await connection.fetch(queries.SET_HASH, uuid, key_hash, secret[:_SHOWN_CHARACTERS])
            until = await connection.fetchval(queries.FIND_RETIRED, uuid)
        return _from_row(row), until

    async def revoke(self, key_id: str) -> bool:
        """Revoke a key for good; a second time changes nothing. False if there is no such key."""
        try:
            uuid = UUID(key_id)
        except ValueError:
            return False
        return await self._database.fetchrow(queries.REVOKE_KEY, uuid) is not None

    async def touch(self, used: Mapping[str, datetime]) -> None:
        """Set when keys (by id) were last used, all at once; never back in time."""
        if used:
            await self._database.execute(queries.TOUCH_KEYS, [UUID(key_id) for key_id in used], list(used.values()))


def _given(value: _Value | msgspec.UnsetType) -> _Value | None:
    return None if value is msgspec.UNSET else value


def _from_row(row: asyncpg.Record) -> ApiKey:
    lists = {name: tuple(row[name]) for name in ("allowed_models", "allowed_tiers")}
    return ApiKey(**{**row, **lists, "id": str(row["id"])})
