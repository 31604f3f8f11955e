"""The backends of a worker process, built from what is configured for its tier.

Of a provider only its row in `shared/models/providers.py` is known here; only its tier's workers import its package.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shared.models.providers import ProviderInfo, providers_of
from shared.postgres.gemini_accounts import GeminiAccountStore
from shared.redis.names import queue_name
from shared.sealing import fingerprint
from workers.accounts.account import Account
from workers.accounts.gemini import GeminiAccounts
from workers.accounts.pool import Accounts
from workers.accounts.state import AccountStateStore
from workers.backends.backend import Backend
from workers.backends.unsupported import UnsupportedParameters
from workers.providers.base import ConfiguredProvider, Connect, ForAccount, ProviderContext
from workers.providers.images.fetch import ImageFetcher
from workers.providers.tool_call_state import RedisToolCallState

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from shared.postgres.database import Database
    from shared.settings import Credentials, Settings
    from shared.types import Tier


def backends_of(
    tier: Tier, settings: Settings, credentials: Credentials, redis: Redis, database: Database | None = None
) -> list[Backend]:
    """Build the backends of a tier; none where nothing is configured for it.

    Args:
        tier: of this process.
        settings: what is configured.
        credentials: those of the tier.
        redis: connections that every part shares.
        database: where accounts are that were added at run time.
    """
    own_host = urlsplit(settings.base_url or "").hostname or ""
    context = ProviderContext(tier, settings, credentials, ImageFetcher(own_host=own_host), RedisToolCallState(redis))
    backends = []
    for row in providers_of(tier):
        module = import_module(f"{row.package or f'workers.providers.{row.name}'}.connect")
        if row.has_accounts:
            backends.append(_with_accounts(row, module.for_account, context, redis, database))
        else:
            connect: Connect = module.connect
            backends += [_with_one_account(configured, context, redis) for configured in connect(context)]
    return backends


def _with_one_account(configured: ConfiguredProvider, context: ProviderContext, redis: Redis) -> Backend:
    """Build a backend with one account without quotas."""
    provider, name, slots, credential, own_tier = configured
    # An Ollama's cloud models are paid, and only the local tier's worker reaches that Ollama.
    tier = own_tier or context.tier
    account = Account(f"{tier}:{name}", provider, fingerprint=fingerprint(credential or ""))
    queue = queue_name(tier, name)
    accounts = Accounts(_state(context, queue, redis), [account])
    return Backend(tier, provider, name, slots, accounts=accounts, unsupported=UnsupportedParameters(redis, queue))


def _with_accounts(
    row: ProviderInfo, for_account: ForAccount, context: ProviderContext, redis: Redis, database: Database | None
) -> Backend:
    """Build a backend that is always there, since accounts may be added later; not offered while there is none."""
    slots = context.settings.gemini_slots
    queue = queue_name(context.tier, row.name)
    state = _state(context, queue, redis, is_counted=True)
    # Half as many as the slots may wait beside those that run: a minute's quota is back soon.
    accounts = Accounts(state, catalogue=context.settings.catalogue, most_waiting=slots // 2)
    stored = None if database is None else GeminiAccountStore(database)
    source = GeminiAccounts(accounts, context.credentials, stored, redis, provider_for=partial(for_account, context))
    return Backend(
        context.tier,
        source,
        source.name,
        slots,
        accounts=accounts,
        unsupported=UnsupportedParameters(redis, queue),
        account_source=source,
    )


def _state(context: ProviderContext, queue: str, redis: Redis, *, is_counted: bool = False) -> AccountStateStore:
    """Return the state of a backend's accounts."""
    # By then a probe has begun to answer, which settles it, or has failed.
    probe_s = context.settings.first_token_timeout_s
    return AccountStateStore(redis, queue, probe_s=probe_s, is_counted=is_counted)
