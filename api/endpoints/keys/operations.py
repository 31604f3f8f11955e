"""Keys as the operator makes and changes them: what the management API and the web UI both do.

Every function raises `InvalidRequest` for what is wrong with what was asked, naming the field, and
`DatabaseUnavailable` while PostgreSQL does not answer.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

import msgspec

from api.admission.new_secrets import secret_for_call
from api.gateway import gateway
from api.http.times import in_utc
from shared.errors import Conflict, InvalidRequest, NotFound
from shared.postgres.keys import (
    DEFAULT_RPM_LIMIT,
    BudgetUsd,
    Expiry,
    KeyChange,
    KeyName,
    ModelPatterns,
    RpmLimit,
    SecretKnown,
    Tiers,
    TokensPerMinute,
    UnknownPrompt,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from shared.postgres.keys import ApiKey

_Made = TypeVar("_Made")


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The fields of a key to be created."""

    name: KeyName
    rpm_limit: RpmLimit = DEFAULT_RPM_LIMIT
    admin_allowed: bool = False
    monthly_budget_usd: BudgetUsd | None = None
    system_prompt_id: UUID | None = None
    allowed_models: ModelPatterns = ()
    allowed_tiers: Tiers = ()
    expires_at: Expiry | None = None
    tokens_per_minute: TokensPerMinute | None = None
    stream_comments: bool = True


async def create_key(wanted: NewKey, call: bytes) -> tuple[ApiKey, str]:
    """Create a key; return it and its secret.

    Args:
        wanted: what is asked for.
        call: who asks for what: the same within seconds is the same call, and makes no second key.
    """
    name, patterns, expires_at = _checked(wanted.name), _patterns(wanted.allowed_models), _expiry(wanted.expires_at)

    async def create(secret: str) -> tuple[ApiKey, str]:
        return await gateway().keys.create(
            name,
            rpm_limit=wanted.rpm_limit,
            admin_allowed=wanted.admin_allowed,
            monthly_budget_usd=wanted.monthly_budget_usd,
            system_prompt_id=wanted.system_prompt_id,
            allowed_models=patterns,
            allowed_tiers=wanted.allowed_tiers,
            expires_at=expires_at,
            tokens_per_minute=wanted.tokens_per_minute,
            stream_comments=wanted.stream_comments,
            secret=secret,
        )

    with _prompt_known():
        return await _with_secret(call, create)


async def rotate_key(key_id: str, grace_s: int, call: bytes) -> tuple[ApiKey, str, datetime | None]:
    """Give a key another secret; return the key, the secret, and until when the one before is valid, if it is.

    Raises:
        NotFound: there is no active key with this id.
    """
    await _check_not_built_in(key_id)

    async def rotate(secret: str) -> tuple[ApiKey, str, datetime | None]:
        rotated = await gateway().key_changes.rotate(key_id, secret, grace_s)
        if rotated is None:
            raise NotFound("There is no active key with this id.")
        key, until = rotated
        # The epoch stands for a secret that ends at once.
        return key, secret, until if until.timestamp() else None

    return await _with_secret(call, rotate)


async def change_key(key_id: str, change: KeyChange) -> ApiKey:
    """Change a key everywhere.

    Raises:
        NotFound: there is no active key with this id.
    """
    if not change.is_any:
        raise InvalidRequest(f"one of these must be given: {', '.join(KeyChange.__struct_fields__)}")
    if change.name is not msgspec.UNSET:
        change = msgspec.structs.replace(change, name=_checked(change.name))
    if change.allowed_models is not msgspec.UNSET:
        change = msgspec.structs.replace(change, allowed_models=_patterns(change.allowed_models))
    if change.expires_at is not msgspec.UNSET:
        change = msgspec.structs.replace(change, expires_at=_expiry(change.expires_at))
    with _prompt_known():
        key = await gateway().key_changes.update(key_id, change)
    if key is None:
        raise NotFound("There is no active key with this id.")
    return key


async def revoke_key(key_id: str) -> str:
    """Revoke a key everywhere, and return its id as it is written. Doing it again is no error.

    Raises:
        NotFound: there is no such key.
    """
    try:
        key_id = str(UUID(key_id))
    except ValueError:
        raise NotFound("There is no key with this id.") from None
    await _check_not_built_in(key_id)
    if not await gateway().key_changes.revoke(key_id):
        raise NotFound("There is no key with this id.")
    return key_id


async def _check_not_built_in(key_id: str) -> None:
    """Check that a key is no part of the gateway.

    Raises:
        Conflict: it is.
    """
    key = await gateway().keys.find(key_id)
    if key is not None and key.is_built_in:
        raise Conflict(
            f"{key.name} is the key of the web UI's chat: it has no secret that could leak. Bound what it may do (its "
            "tiers, models, budget, requests a minute), or turn the web UI off with CLAW_UI=off.",
            code="built_in_key",
        )


async def _with_secret(call: bytes, make: Callable[[str], Awaitable[_Made]]) -> _Made:
    """Carry out what makes a secret; a call that is repeated within seconds makes the same one."""
    state = gateway()
    secret = state.settings.internal_secret or ""
    try:
        return await make(await secret_for_call(state.redis, secret, call))
    except SecretKnown:
        # Its key was revoked, or rotated on, within these seconds.
        return await make(await secret_for_call(state.redis, secret, call, is_spent=True))


@contextmanager
def _prompt_known() -> Iterator[None]:
    try:
        yield
    except UnknownPrompt:
        raise InvalidRequest("There is no system prompt with this id - at `$.system_prompt_id`") from None


def _checked(name: str) -> str:
    name = name.strip()
    if not name or "\x00" in name:
        raise InvalidRequest("name must have visible characters and no NUL - at `$.name`")
    return name


def _patterns(given: tuple[str, ...]) -> tuple[str, ...]:
    patterns = tuple(pattern.strip() for pattern in given)
    if not all(patterns) or any("\x00" in pattern for pattern in patterns):
        raise InvalidRequest("a pattern must have visible characters and no NUL - at `$.allowed_models`")
    return patterns


def _expiry(given: datetime | None) -> datetime | None:
    try:
        return None if given is None else in_utc(given)
    except ValueError:
        raise InvalidRequest("expires_at must be of the years 1 to 9999 in UTC - at `$.expires_at`") from None
