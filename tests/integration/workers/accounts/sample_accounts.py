"""Accounts without an upstream, and attempts that use them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from shared import errors
from shared.models.catalogue import Catalogue, Quota
from shared.redis.names import quota_keys
from workers.accounts.account import Account
from workers.accounts.pool import Accounts
from workers.accounts.state import AccountStateStore

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from workers.providers.base import Provider

MODEL = "gemini-x"


class Connections:
    """Stands where a provider does: nothing here calls an upstream, only whether it is closed matters."""

    closed = False

    async def close(self) -> None:
        """Close it, as a provider's."""
        self.closed = True


def account(name: str, **quota: int) -> Account:
    """Return an account without an upstream."""
    provider = cast("Provider", Connections())
    return Account(name, provider, fingerprint="print-" + name, name=f"{name}@example.com", quota=Quota(**quota))


def counted(redis: Redis, *accounts: Account) -> Accounts:
    """Accounts with quotas, as of the Gemini tier; none but their own."""
    store = AccountStateStore(redis, "arq:queue:gemini:gemini", probe_s=60, is_counted=True)
    return Accounts(store, accounts, Catalogue())


def lone(redis: Redis) -> Accounts:
    """Return the one account of a backend without quotas."""
    store = AccountStateStore(redis, "arq:queue:local:x", probe_s=60, is_counted=False)
    return Accounts(store, [account("local:x")])


async def use(accounts: Accounts, error: BaseException | None = None, **options: Any) -> str:
    """Return an attempt that ends as told; the id of the account that it used."""
    async with accounts.lease(MODEL, lambda: 10, **options) as lease:
        if error is not None:
            raise error
        return lease.account.id


async def fail(accounts: Accounts, error: errors.GatewayError, **options: Any) -> errors.GatewayError:
    """Return an attempt that fails with an error, or because no account can be used."""
    with pytest.raises(errors.GatewayError) as caught:
        await use(accounts, error, **options)
    return caught.value


async def uses(redis: Redis, name: str) -> int:
    """Return how many uses of the last minute are on record."""
    return int(await redis.zcard(quota_keys(name, MODEL, "")[1]))
