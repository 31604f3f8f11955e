"""/claw/v1/api-keys: list, create, change, rotate and revoke gateway keys."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
from quart import g, request

from api.admission.new_secrets import secret_for_call
from api.endpoints.keys.admins import actor, check_may_create
from api.endpoints.manage.guard import body_as, flag_argument
from api.gateway import gateway
from api.http.body import json_response
from shared.errors import InvalidRequest, NotFound
from shared.postgres.keys import (
    DEFAULT_GRACE_S,
    DEFAULT_RPM_LIMIT,
    BudgetUsd,
    Expiry,
    GraceSeconds,
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

    from quart import Response

    from shared.postgres.keys import ApiKey


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a key is created from."""

    name: KeyName
    rpm_limit: RpmLimit = DEFAULT_RPM_LIMIT
    admin_allowed: bool = False
    monthly_budget_usd: BudgetUsd | None = None
    system_prompt_id: UUID | None = None
    allowed_models: ModelPatterns = ()
    allowed_tiers: Tiers = ()
    expires_at: Expiry | None = None
    tokens_per_minute: TokensPerMinute | None = None


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """For how many seconds the secret before is valid still."""

    grace_s: GraceSeconds = DEFAULT_GRACE_S


async def list_keys() -> Response:
    """List the active keys; with `?all=true` the revoked ones after them."""
    keys = await gateway().keys.list(include_revoked=flag_argument("all"))
    return json_response({"keys": [_shown(key) for key in keys]})


async def create_key() -> Response:
    """Create a key. The reply is the only place where it is ever shown."""
    wanted = await body_as(NewKey)
    check_may_create(admin_allowed=wanted.admin_allowed)

    async def create(secret: str) -> Response:
        key, _ = await gateway().keys.create(
            _checked(wanted.name),
            rpm_limit=wanted.rpm_limit,
            admin_allowed=wanted.admin_allowed,
            monthly_budget_usd=wanted.monthly_budget_usd,
            system_prompt_id=wanted.system_prompt_id,
            allowed_models=_patterns(wanted.allowed_models),
            allowed_tiers=wanted.allowed_tiers,
            expires_at=wanted.expires_at,
            tokens_per_minute=wanted.tokens_per_minute,
            secret=secret,
        )
        return json_response({**_shown(key), "key": secret}, 201)

    with _prompt_known():
        return await _with_secret(create)


async def rotate_key(key_id: str) -> Response:
    """Give a key another secret, shown this once; what else is known of the key stays."""
    wanted = await body_as(Rotation)

    async def rotate(secret: str) -> Response:
        rotated = await gateway().key_changes.rotate(key_id, secret, wanted.grace_s)
        if rotated is None:
            raise NotFound("There is no active key with this id.")
        key, until = rotated
        is_over = not until.timestamp()
        return json_response({**_shown(key), "key": secret, "old_key_valid_until": None if is_over else until})

    return await _with_secret(rotate)


async def _with_secret(make: Callable[[str], Awaitable[Response]]) -> Response:
    """Carry out what makes a secret; a call that is repeated within seconds makes the same one."""
    state = gateway()
    asked = msgspec.json.encode(g.get("asked"), order="sorted")
    call = f"{actor()} {request.method} {request.path} ".encode() + asked
    secret = state.settings.internal_secret or ""
    try:
        return await make(await secret_for_call(state.redis, secret, call))
    except SecretKnown:
        # Its key was revoked, or rotated on, within these seconds.
        return await make(await secret_for_call(state.redis, secret, call, is_spent=True))


async def change_key(key_id: str) -> Response:
    """Change a key everywhere; fields that are not given stay, and one of null is removed."""
    change = await body_as(KeyChange)
    if not change.is_any:
        raise InvalidRequest(f"one of these must be given: {', '.join(KeyChange.__struct_fields__)}")
    if change.name is not msgspec.UNSET:
        change = msgspec.structs.replace(change, name=_checked(change.name))
    if change.allowed_models is not msgspec.UNSET:
        change = msgspec.structs.replace(change, allowed_models=_patterns(change.allowed_models))
    with _prompt_known():
        key = await gateway().key_changes.update(key_id, change)
    if key is None:
        raise NotFound("There is no active key with this id.")
    return json_response(_shown(key))


async def revoke_key(key_id: str) -> Response:
    """Revoke a key everywhere. Doing it again is no error."""
    try:
        key_id = str(UUID(key_id))
    except ValueError:
        raise NotFound("There is no key with this id.") from None
    if not await gateway().key_changes.revoke(key_id):
        raise NotFound("There is no key with this id.")
    return json_response({"id": key_id, "is_active": False, "revoked": True})


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


def _shown(key: ApiKey) -> dict[str, Any]:
    shown = {**msgspec.structs.asdict(key), "is_active": key.is_active}
    del shown["secret_until"]
    return shown
