"""Authentication: bearer token -> principal.

Keys are cached briefly, and longer while PostgreSQL is down. Revocations and changes do not wait for the cache:
they are announced to every process, and admission sees in Redis whether one was missed.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from api.routing.key_bounds import NO_KEY_BOUNDS, KeyBounds
from shared.errors import Overloaded, Unauthenticated
from shared.models.catalogue import nano_usd
from shared.postgres.database import DatabaseUnavailable
from shared.postgres.keys import KEY_START, ApiKey, KeyStore, hash_secret
from shared.queue.placement import NO_BUDGET_LIMITS, BudgetLimits
from shared.redis.names import revision_key, revoked_key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis.asyncio import Redis
    from werkzeug.datastructures import Headers

    from shared.settings import Settings

MOST_CACHED: Final = 10_000
CONFIRM_TIMEOUT_S: Final = 1.0
"""A Redis that is frozen holds up nobody who needs nothing else of it for longer."""
INTERNAL_HEADERS: Final = ("x-internal-token", "x-internal-secret")


class Principal(msgspec.Struct, frozen=True):
    """The caller of a request. `key_id` is None for the internal token; a limit a minute of 0 is none.

    `monthly_budget_usd` is None where no budget of its own bounds what it spends at paid APIs, 0 where it may not.
    `system_prompt_id` is the prompt of its own that it has, if any; `bounds` are the models and tiers that it may use;
    `purpose` is what its requests are for, where they are of the gateway's own. `revision` is how often the key had
    been changed, None where nobody can change it; `key_hash` is of the secret by which it was found.
    """

    key_id: str | None
    rpm_limit: int
    admin_allowed: bool
    monthly_budget_usd: float | None = None
    system_prompt_id: str | None = None
    bounds: KeyBounds = NO_KEY_BOUNDS
    tokens_per_minute: int = 0
    purpose: str = ""
    stream_comments: bool = True
    revision: int | None = None
    key_hash: bytes = b""

    def budget_limits(self, all_usd: float | None) -> BudgetLimits:
        """Return what bounds its spending: a budget of all keys together, in US dollars, and its own."""
        budgets_usd = (all_usd, self.monthly_budget_usd)
        if budgets_usd == (None, None):
            return NO_BUDGET_LIMITS
        return BudgetLimits(*(None if usd is None else nano_usd(usd) for usd in budgets_usd))


def principal_of(key: ApiKey) -> Principal:
    """Return who asks with a key."""
    is_bounded = key.allowed_models or key.allowed_tiers
    return Principal(
        key.id,
        key.rpm_limit,
        key.admin_allowed,
        key.monthly_budget_usd,
        key.system_prompt_id,
        KeyBounds(key.allowed_models, key.allowed_tiers) if is_bounded else NO_KEY_BOUNDS,
        key.tokens_per_minute or 0,
        stream_comments=key.stream_comments,
        revision=key.revision,
    )


INTERNAL: Final = Principal(key_id=None, rpm_limit=0, admin_allowed=True)


def is_internal(headers: Headers, settings: Settings) -> bool:
    """Return whether a request carries the server's internal token."""
    for name in INTERNAL_HEADERS:
        token = headers.get(name)
        if token and settings.internal_secret:
            # As bytes: of text it takes ASCII only, and headers are the client's.
            return hmac.compare_digest(token.encode("utf-8", "replace"), settings.internal_secret.encode())
    return False


class Authenticator:
    """Finds the principal of a request.

    Args:
        settings: the internal token and how long a key is cached, in seconds.
        keys: where keys are stored.
        went_back: told of a key (its id) that PostgreSQL has at an earlier change than Redis, and of both.
    """

    def __init__(
        self,
        settings: Settings,
        keys: KeyStore,
        went_back: Callable[[str, int, int], Awaitable[None]] | None = None,
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._went_back = went_back
        self._cache: dict[bytes, tuple[ApiKey, float]] = {}
        self._lookups: dict[tuple[bytes, int], asyncio.Future[ApiKey | None]] = {}
        self._news = 0

    async def authenticate(self, headers: Headers) -> Principal:
        """Return the principal of a request.

        Raises:
            Unauthenticated: there is no key, or none that is valid.
            Overloaded: PostgreSQL is down and the key is not cached.
        """
        scheme, _, token = headers.get("authorization", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            if is_internal(headers, self._settings):
                return INTERNAL
            raise Unauthenticated(
                "You didn't provide an API key. Send it as a bearer token: 'Authorization: Bearer sk-nself-...'. "
                "`nself claw api keys create --name NAME` makes one."
            )
        if not token.startswith(KEY_START):
            raise Unauthenticated(f"Incorrect API key provided. Keys of this gateway begin with {KEY_START}.")
        return await self.holder_of(hash_secret(token))

    async def holder_of(self, key_hash: bytes, *, may_be_old: bool = True) -> Principal:
        """Return the principal whose secret has this hash; the errors are those of `authenticate`.

        Args:
            key_hash: of the secret.
            may_be_old: whether it may be as it was known, where PostgreSQL is down.
        """
        key = await self._find(key_hash, may_be_old=may_be_old)
        if key is None:
            raise Unauthenticated("Incorrect API key provided, or it has been revoked.")
        # A cached key ends in time too; of several api processes each by its own clock.
        if key.expires_at is not None and key.expires_at <= datetime.now(UTC):
            raise Unauthenticated("This API key has expired.", code="key_expired")
        if key.secret_until is not None and key.secret_until <= datetime.now(UTC):
            raise Unauthenticated(
                "This secret was replaced by another one of the same key, and its time of grace is over.",
                code="key_rotated",
            )
        return msgspec.structs.replace(principal_of(key), key_hash=key_hash)

    async def confirmed(self, redis: Redis, principal: Principal) -> Principal:
        """Return a principal as it is now, whatever news were lost; admission does the same by itself.

        Raises:
            RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
            GatewayError: those of `renewed`.
        """
        if principal.key_id is None:
            return principal
        async with asyncio.timeout(CONFIRM_TIMEOUT_S):
            revoked, revision = await redis.mget(revoked_key(principal.key_id), revision_key(principal.key_id))
        if revoked:
            raise Unauthenticated("This API key has been revoked.")
        return await self.renewed(principal, int(revision or 0))

    async def renewed(self, principal: Principal, revision: int) -> Principal:
        """Return a principal as it is at a revision of its key, or later.

        Raises:
            Unauthenticated: its secret does not open the key any more.
            Overloaded: PostgreSQL is down.
        """
        known = principal.revision
        if known is None or known >= revision or principal.key_id is None:
            return principal
        self.invalidate(principal.key_id)
        found = await self.holder_of(principal.key_hash, may_be_old=False)
        # A change is committed before Redis knows of it: PostgreSQL was restored from a backup.
        if (found.revision or 0) < revision and self._went_back is not None:
            await self._went_back(principal.key_id, revision, found.revision or 0)
        return msgspec.structs.replace(found, purpose=principal.purpose)

    def forget(self, key_id: str) -> None:
        """Forget a key that was revoked."""
        self._news += 1
        for key_hash, (key, _) in list(self._cache.items()):
            if key.id == key_id:
                del self._cache[key_hash]

    def invalidate(self, key_id: str) -> None:
        """Ask PostgreSQL again for a key; while it does not answer, the key is as it was."""
        self._news += 1
        for key_hash, (key, _) in self._cache.items():
            if key.id == key_id:
                self._cache[key_hash] = (key, 0.0)

    def invalidate_all(self, _subject: str = "") -> None:
        """Ask PostgreSQL again for every key: a revocation or a change may have been missed."""
        self._news += 1
        self._cache = {key_hash: (key, 0.0) for key_hash, (key, _) in self._cache.items()}

    async def _find(self, key_hash: bytes, *, may_be_old: bool) -> ApiKey | None:
        cached = self._cache.get(key_hash)
        now = time.monotonic()
        if cached is not None and now < cached[1]:
            return cached[0]
        news = self._news
        try:
            key = await self._look_up(key_hash)
        except DatabaseUnavailable as error:
            if cached is not None and may_be_old:
                # No risk: admission sees in Redis whether it was revoked.
                self._remember(key_hash, cached[0], now)
                return cached[0]
            raise Overloaded(
                f"The gateway cannot check this API key: its database {error.public}.",
                code="database_unavailable",
                retry_after_s=2,
            ) from None
        if key is None:
            self._cache.pop(key_hash, None)
        else:
            # What was read before the news came may be of before the change.
            self._remember(key_hash, key, now if news == self._news else float("-inf"))
        return key

    async def _look_up(self, key_hash: bytes) -> ApiKey | None:
        """Ask PostgreSQL for a key, once for all who want it meanwhile: a thousand requests would wait for its pool.

        Raises:
            DatabaseUnavailable: it cannot answer.
        """
        # Who comes after news does not get what may have been read before them.
        wanted = (key_hash, self._news)
        lookup = self._lookups.get(wanted)
        if lookup is None:
            lookup = self._lookups[wanted] = asyncio.ensure_future(self._keys.find_by_hash(key_hash))
            lookup.add_done_callback(lambda _: self._lookups.pop(wanted))
            lookup.add_done_callback(asyncio.Future.exception)  # seen also where nobody waits any more
        # It goes on for the others when one of them leaves.
        return await asyncio.shield(lookup)

    def _remember(self, key_hash: bytes, key: ApiKey, now: float) -> None:
        # To the end of the order, so that what goes first below is what was looked up longest ago.
        self._cache.pop(key_hash, None)
        if len(self._cache) >= MOST_CACHED:
            del self._cache[next(iter(self._cache))]
        self._cache[key_hash] = (key, now + self._settings.key_cache_s)
