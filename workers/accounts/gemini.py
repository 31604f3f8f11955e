"""The accounts of the Gemini tier: those of the environment, and those that are added while it runs.

The latter are in PostgreSQL, their keys sealed for these workers. They are read at the start, at every news and every
half minute; while PostgreSQL is away, those that were read last are used.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

import asyncpg

from shared.errors import GatewayError, Rejected
from shared.models.catalogue import Quota
from shared.postgres.database import DatabaseUnavailable
from shared.postgres.gemini_accounts import NEWS, KnownAccount, publish_known
from shared.process.outage import OutageLog
from shared.redis.client import UNREACHABLE
from shared.redis.names import GEMINI_SEAL, NEWS_CHANNEL, account_key, probing_key
from shared.redis.subscription import confirmed_pubsub
from shared.sealing import CannotOpen, Opener, fingerprint
from workers.accounts.account import Account

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis.asyncio import Redis
    from redis.asyncio.client import PubSub

    from shared.postgres.gemini_accounts import GeminiAccountStore, StoredAccount
    from shared.settings import Credentials
    from shared.types import LocalModel
    from workers.accounts.pool import Accounts
    from workers.providers.base import Provider

_log = logging.getLogger(__name__)

RELOAD_S: Final = 30.0
RETRY_S: Final = 1.0
PROBE_S: Final = 20.0


class GeminiAccounts:
    """Keeps the accounts of the Gemini backend as they should be, and asks any of them for the models.

    Args:
        accounts: those that attempts use.
        credentials: the accounts of the environment, and the key that opens the others.
        store: where the others are; None where there is no database.
        redis: connections that every part shares.
        provider_for: a provider that uses a key.
    """

    name = "gemini"
    parallel: int | None = None

    def __init__(
        self,
        accounts: Accounts,
        credentials: Credentials,
        store: GeminiAccountStore | None,
        redis: Redis,
        *,
        provider_for: Callable[[str], Provider],
    ) -> None:
        self._accounts = accounts
        self._credentials = credentials
        self._store = store
        self._redis = redis
        self._provider_for = provider_for
        self._opener = Opener(credentials.encryption_key) if credentials.encryption_key else None
        self._rows: list[tuple[StoredAccount, bytes]] = []
        self._has_rows = store is None
        self._sealed: frozenset[str] = frozenset()
        self._is_sealed_for_us: bool | None = None
        self._outage = OutageLog(_log, "Redis", "stored accounts")

    async def models(self) -> Sequence[LocalModel]:
        """Return the models of the first account that answers.

        Raises:
            UpstreamError: none does.
        """
        failure: GatewayError | None = None
        for account in self._accounts.all:
            try:
                return await account.provider.models()
            except GatewayError as error:
                failure = error
        if failure is not None:
            raise failure
        return []

    async def follow(self, on_change: Callable[[], None]) -> None:
        """Follow the accounts for good; `on_change` is called when they have changed."""
        if self._store is None:
            _log.warning("DATABASE_URL is not set: only the Gemini accounts of the environment are used")
        elif self._opener is None:
            _log.warning("there is no CLAW_ENCRYPTION_KEY: only the Gemini accounts of the environment are used")
        await self._load(on_change)
        if not self._accounts.all:
            _log.info("the gemini tier has no account: idle until one is added")
        while True:
            try:
                async with confirmed_pubsub(self._redis, NEWS_CHANNEL) as pubsub:
                    while True:
                        await self._load(on_change)
                        await self._probe_rejected(on_change)
                        self._outage.answered()
                        await _news_or_late(pubsub, RELOAD_S if self._has_rows else RETRY_S)
            except UNREACHABLE as error:
                self._outage.failed(error)
                await asyncio.sleep(RETRY_S)
                # Redis is away, but PostgreSQL may not be: changes of accounts are seen all the same.
                await self._load(on_change)

    async def _load(self, on_change: Callable[[], None]) -> None:
        await self._read()
        known = self._known()
        await self._use(known, on_change)
        try:
            await publish_known(self._redis, (account for account, _, _ in known))
            await self._publish_seal(known)
        except UNREACHABLE:
            pass  # published again in half a minute

    async def _read(self) -> None:
        if self._store is None:
            return
        try:
            # At a first start this worker comes before whoever makes the schema: no table yet is no fault.
            if not (self._has_rows or await self._store.is_there()):
                return
            self._rows = await self._store.credentials()
            self._has_rows = True
        except DatabaseUnavailable:
            pass  # the database has said so; those that were read last are used
        except asyncpg.PostgresError as error:
            _log.warning("the stored Gemini accounts cannot be read (%s); going on", type(error).__name__)

    def _known(self) -> list[tuple[KnownAccount, str, Quota]]:
        """Return every account with its key (empty where that cannot be opened or used) and its own limits."""
        known = [
            (_known(f"env-{key.variable}", key.variable, key.project, key.api_key), key.api_key, Quota())
            for key in self._credentials.gemini_accounts
        ]
        sealed = set()
        for row, sealed_key in self._rows:
            api_key = self._opened(sealed_key)
            account = _known(row.id, row.account_email, row.project, api_key, is_stored=True)
            if not api_key:
                sealed.add(row.account_email)
            quota = Quota(
                requests_per_minute=row.requests_per_minute,
                prompt_tokens_per_minute=row.prompt_tokens_per_minute,
                requests_per_day=row.requests_per_day,
            )
            known.append((account, api_key if row.enabled else "", quota))
        if sealed - self._sealed:
            names = ", ".join(sorted(sealed))
            _log.error("Gemini accounts that cannot be opened with this CLAW_ENCRYPTION_KEY: %s", names)
        self._sealed = frozenset(sealed)
        return known

    def _opened(self, sealed_key: bytes) -> str:
        try:
            return self._opener.open(sealed_key) if self._opener else ""
        except CannotOpen:
            return ""

    async def _use(self, known: Sequence[tuple[KnownAccount, str, Quota]], on_change: Callable[[], None]) -> None:
        """Replace what attempts use, if it is not the same; an account that stays keeps its connections."""
        # A new key or another project makes another account of it: what was known of the old one does not hold.
        before = {(account.id, account.fingerprint, account.scope): account for account in self._accounts.all}
        after: list[Account] = []
        for one, api_key, quota in known:
            if not api_key:
                continue
            account = before.get((one.id, one.fingerprint, one.scope))
            if account is None:
                provider = self._provider_for(api_key)
                name, scope = one.account_email, one.scope
                account = Account(one.id, provider, fingerprint=one.fingerprint, name=name, scope=scope)
            account.quota = quota
            after.append(account)
        if tuple(after) != self._accounts.all:
            await self._accounts.replace(after)
            _log.info("gemini: %d accounts", len(after))
            on_change()

    async def _publish_seal(self, known: Sequence[tuple[KnownAccount, str, Quota]]) -> None:
        """Publish our public key.

        Where there is another one, the worker that starts last and can open what is stored wins; one that runs never
        takes it back, so that two of them do not quarrel.
        """
        if self._opener is None or self._store is None or not self._has_rows:
            return
        ours = self._opener.public_key.hex().encode()
        if await self._redis.set(GEMINI_SEAL, ours, nx=True):
            self._is_sealed_for_us = True
            return
        is_ours = await self._redis.get(GEMINI_SEAL) == ours
        stored = [account for account, _, _ in known if account.source == "stored"]
        can_open = not stored or any(account.can_open for account in stored)
        if not is_ours and self._is_sealed_for_us is None and can_open:
            _log.error("Gemini keys were sealed for another CLAW_ENCRYPTION_KEY; from now on they are for this one")
            await self._redis.set(GEMINI_SEAL, ours)
            is_ours = True
        if not is_ours and self._is_sealed_for_us is not False:
            _log.error("Gemini keys are sealed for another CLAW_ENCRYPTION_KEY than this worker's")
        self._is_sealed_for_us = is_ours

    async def _probe_rejected(self, on_change: Callable[[], None]) -> None:
        """Ask for the models with each credential that was rejected and may be tried again: that costs no quota."""
        for account in self._accounts.all:
            known = self._redis.hmget(account_key(account.id), ["rejected", "until"])
            rejected, until = await known  # type: ignore[misc]  # typed for both clients
            if rejected != account.fingerprint.encode() or int(until or 0) > time.time() * 1000:
                continue
            # One worker of all asks, and asks again only when that time is over.
            if not await self._redis.set(probing_key(account.id), b"1", nx=True, ex=int(PROBE_S)):
                continue
            try:
                async with asyncio.timeout(PROBE_S):
                    await account.provider.models()
            except Rejected as error:
                await self._accounts.rejected_again(account, error)
            except (GatewayError, TimeoutError):
                # A server that fails, or is slow, rejects nobody.
                continue  # says nothing of the credential
            else:
                _log.warning("account %s: its credential is accepted again", account.label)
                await self._redis.delete(account_key(account.id))
                # By themselves: that opens what was closed, and wakes those that wait for an account.
                await self._accounts.replace(self._accounts.all)
                on_change()


def _known(account_id: str, name: str, project: str | None, api_key: str, *, is_stored: bool = False) -> KnownAccount:
    own = fingerprint(api_key) if api_key else ""
    return KnownAccount(
        id=account_id,
        account_email=name,
        source="stored" if is_stored else "environment",
        # The same key twice is one quota, and so are the keys of one project.
        scope=f"project:{project}" if project else f"key:{own}",
        project=project,
        fingerprint=own,
        can_open=bool(api_key),
    )


async def _news_or_late(pubsub: PubSub, wait_s: float) -> None:
    """Return at news of accounts, or after `wait_s` seconds."""
    loop = asyncio.get_running_loop()
    end = loop.time() + wait_s
    while (left_s := end - loop.time()) > 0:
        message = await pubsub.get_message(timeout=left_s)
        if message is not None and message["type"] == "message" and message["data"] == NEWS:
            return
