"""/ai/gemini/accounts: add, list, change and remove accounts of the Gemini tier.

Their keys come in and never out: they are sealed for the workers of the tier before they are stored.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from api.endpoints.manage.gemini_usage import read_use
from api.endpoints.manage.guard import body_as
from api.gateway import gateway
from api.http.body import json_response
from shared.errors import Conflict, InvalidRequest, NotFound, Overloaded
from shared.models.catalogue import Quota
from shared.models.providers import GEMINI_KEYS
from shared.postgres.gemini_accounts import (
    MAX_LIMIT,
    NEWS,
    AccountChange,
    GeminiAccountStore,
    KnownAccount,
    StoredAccount,
    known_accounts,
)
from shared.postgres.transaction import after_commit
from shared.redis.client import UNREACHABLE
from shared.redis.names import GEMINI_SEAL, NEWS_CHANNEL, account_key, removed_account_key
from shared.sealing import fingerprint, seal

if TYPE_CHECKING:
    from quart import Response
    from redis.asyncio import Redis


REMEMBERED_S: Final = 24 * 3600
"""Time in which removing an account again is no error: some clients send every command twice."""
_ENVIRONMENT: Final = "env-"

Limit = Annotated[int, msgspec.Meta(ge=1, le=MAX_LIMIT)]
# It stands in paths of the API.
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\s/\x00-\x1f\x7f]+$")]
Project = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\s\x00-\x1f\x7f]+$")]
# It goes into a header of HTTP.
Secret = Annotated[str, msgspec.Meta(min_length=1, max_length=500, pattern=r"^[!-~]+$")]


class NewAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The fields of an account to be added. Limits that are left out are those of the model."""

    account_email: Name
    api_key: Secret
    project: Project | None = None
    requests_per_minute: Limit | None = None
    prompt_tokens_per_minute: Limit | None = None
    requests_per_day: Limit | None = None


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The fields of an account to be changed; null removes its project or a limit of its own."""

    enabled: bool | msgspec.UnsetType = msgspec.UNSET
    project: Project | msgspec.UnsetType | None = msgspec.UNSET
    requests_per_minute: Limit | msgspec.UnsetType | None = msgspec.UNSET
    prompt_tokens_per_minute: Limit | msgspec.UnsetType | None = msgspec.UNSET
    requests_per_day: Limit | msgspec.UnsetType | None = msgspec.UNSET
    api_key: Secret | msgspec.UnsetType = msgspec.UNSET


async def list_accounts() -> Response:
    """List every account: those of the environment that a worker has, and those that are stored, whoever has them."""
    return json_response(await all_accounts())


async def all_accounts() -> list[dict[str, Any]]:
    """Return every account with its use and its state, as the API shows it.

    Raises:
        DatabaseUnavailable: PostgreSQL cannot answer now.
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    state = gateway()
    known = await known_accounts(state.redis)
    shown: list[tuple[KnownAccount, StoredAccount | None]] = sorted(
        ((account, None) for account in known.values() if account.source == "environment"),
        key=lambda pair: GEMINI_KEYS.index(pair[0].account_email),
    )
    for row in await GeminiAccountStore(state.database).rows():
        nobody = KnownAccount(id=row.id, account_email=row.account_email, source="stored", project=row.project)
        shown.append((known.get(row.id, nobody), row))
    quotas = [(account, Quota() if row is None else _quota(row)) for account, row in shown]
    uses = await read_use(state.redis, quotas, state.settings.catalogue)
    return [
        {**_shown(account, row), **msgspec.structs.asdict(use)} for (account, row), use in zip(shown, uses, strict=True)
    ]


async def add_account() -> Response:
    """Add an account; a worker that runs uses it within a second."""
    return json_response(await add(await body_as(NewAccount)), 201)


async def add(wanted: NewAccount) -> dict[str, Any]:
    """Add an account; return it as the API shows it.

    Raises:
        GatewayError: it cannot be added; the text says why.
        DatabaseUnavailable: PostgreSQL cannot answer now.
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    state = gateway()
    if wanted.account_email in GEMINI_KEYS or wanted.account_email.startswith(_ENVIRONMENT):
        raise InvalidRequest("account_email must not be a name of the environment's accounts - at `$.account_email`")
    if not any(character.isprintable() for character in wanted.account_email):
        raise InvalidRequest("account_email must have visible characters - at `$.account_email`")
    sealed_key = await _sealed(state.redis, wanted.api_key)
    store = GeminiAccountStore(state.database)
    same_key_as = await _same_key_as(state.redis, store, wanted.api_key)
    limits = (wanted.requests_per_minute, wanted.prompt_tokens_per_minute, wanted.requests_per_day)
    row = await store.add(wanted.account_email, wanted.project, sealed_key, limits)
    if row is None:
        name = wanted.account_email
        raise Conflict(
            f"There is an account {name} already: change it with PATCH (nself claw gemini update), or remove it."
        )
    await after_commit(lambda: _publish_change(state.redis))
    return {**_stored(row), "same_key_as": same_key_as}


async def change_account(name: str) -> Response:
    """Change an account. A new key, or switching it on, forgets that its credential was refused."""
    return json_response(await change(name, await body_as(Change)))


async def change(name: str, wanted: Change) -> dict[str, Any]:
    """Change an account; return it as the API shows it. The errors are those of `add`."""
    state = gateway()
    store = GeminiAccountStore(state.database)
    row = await _find(store, name)
    fields = {field: getattr(wanted, field) for field in Change.__struct_fields__ if field != "api_key"}
    same_key_as = []
    if wanted.api_key is not msgspec.UNSET:
        fields["sealed_key"] = await _sealed(state.redis, wanted.api_key)
        same_key_as = await _same_key_as(state.redis, store, wanted.api_key, row.id)
    changed = await store.change(row.id, AccountChange(**fields))
    if changed is None:
        raise NotFound("There is no account with this id or name.")
    if wanted.api_key is not msgspec.UNSET or wanted.enabled is True:
        # The state of the refused credential: a new key is not to be blamed for the old one.
        await after_commit(lambda: _delete(state.redis, account_key(row.id)))
    await after_commit(lambda: _publish_change(state.redis))
    return {**_stored(changed), "same_key_as": same_key_as}


async def remove_account(name: str) -> Response:
    """Remove an account; attempts that run with it go on. Doing it again is no error."""
    return json_response(await remove(name))


async def remove(name: str) -> dict[str, Any]:
    """Remove an account; return what was removed, as the API says it. The errors are those of `add`."""
    state = gateway()
    store = GeminiAccountStore(state.database)
    try:
        row = await _find(store, name)
    except NotFound:
        if await state.redis.exists(removed_account_key(name.lower())):
            return {"removed": True}
        raise
    # Noted first: who tries again after a failure in between is answered the same.
    for known_as in (row.id, row.account_email.lower()):
        await state.redis.set(removed_account_key(known_as), b"1", ex=REMEMBERED_S)
    await store.remove(row.id)
    await after_commit(lambda: _publish_change(state.redis))
    return {"id": row.id, "account_email": row.account_email, "removed": True}


async def _find(store: GeminiAccountStore, name: str) -> StoredAccount:
    """Return the stored account with this id or name; upper and lower case count only where names differ by them alone.

    Raises:
        NotFound: there is none.
        Conflict: it is one of the environment, or several could be meant.
    """
    variable = name.upper().removeprefix(_ENVIRONMENT.upper())
    if variable in GEMINI_KEYS:
        raise Conflict(f"This account comes from the environment: change {variable} and restart the Gemini workers.")
    # PostgreSQL's text cannot hold NUL, and would refuse the statement.
    row = None if "\x00" in name else await store.find(name)
    if row is not None:
        return row
    similar = [row for row in await store.rows() if row.account_email.casefold() == name.casefold()]
    if len(similar) > 1:
        names = ", ".join(row.account_email for row in similar)
        raise Conflict(f"There are {names}: write the name with its capitals.")
    if not similar:
        raise NotFound("There is no account with this id or name.")
    return similar[0]


async def _same_key_as(redis: Redis, store: GeminiAccountStore, api_key: str, but: str = "") -> list[str]:
    """Return the accounts, but one, of which a worker knows that they have this key: their quota is this one's."""
    wanted = fingerprint(api_key)
    stored = {row.id for row in await store.rows()} - {but}
    return sorted(
        account.account_email
        for account in (await known_accounts(redis)).values()
        if account.fingerprint == wanted and (account.source == "environment" or account.id in stored)
    )


async def _sealed(redis: Redis, api_key: str) -> bytes:
    public_key = await redis.get(GEMINI_SEAL)
    if public_key is None:
        raise Overloaded(
            "No Gemini worker has run yet, so there is no key to seal credentials for. Start one (python -m workers "
            "gemini) with DATABASE_URL and CLAW_ENCRYPTION_KEY, and try again.",
        )
    return seal(bytes.fromhex(public_key.decode()), api_key)


async def _delete(redis: Redis, name: str) -> None:
    await redis.delete(name)


async def _publish_change(redis: Redis) -> None:
    """Publish that accounts changed; the workers look every half minute anyway."""
    with suppress(*UNREACHABLE):
        await redis.publish(NEWS_CHANNEL, NEWS)


def _quota(row: StoredAccount) -> Quota:
    return Quota(
        requests_per_minute=row.requests_per_minute,
        prompt_tokens_per_minute=row.prompt_tokens_per_minute,
        requests_per_day=row.requests_per_day,
    )


def _stored(row: StoredAccount) -> dict[str, Any]:
    return {**msgspec.structs.asdict(row), "source": "stored"}


def _shown(account: KnownAccount, row: StoredAccount | None) -> dict[str, Any]:
    if row is not None:
        return _stored(row)
    return {
        "id": account.id,
        "account_email": account.account_email,
        "project": account.project,
        **msgspec.structs.asdict(Quota()),
        "enabled": True,
        "created_at": None,
        "source": "environment",
    }
