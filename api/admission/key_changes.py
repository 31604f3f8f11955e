"""Changes of gateway keys: stored, then announced, so that every api process sees them at once."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from shared.postgres.transaction import after_commit
from shared.redis import scripts
from shared.redis.client import UNREACHABLE
from shared.redis.names import NEWS_CHANNEL, budget_key, rate_key, revision_key, revoked_key, tokens_key

if TYPE_CHECKING:
    from datetime import datetime

    from redis.asyncio import Redis

    from shared.postgres.keys import ApiKey, KeyChange, KeyStore

_log = logging.getLogger(__name__)

REVOKED: Final = b"revoked"
CHANGED: Final = b"changed"
"""The kinds of news; the key's id follows."""
REVOKED_LIFE_S: Final = 7 * 24 * 3600
"""Longer than any process may go on with a key that it has cached."""


class KeyChanges:
    """Changes keys everywhere.

    Every method raises `DatabaseUnavailable` where PostgreSQL does not answer, and what is `UNREACHABLE` where Redis
    does not: the change may not be known everywhere yet, and is to be tried again. Within a transaction it is announced
    once that is committed.

    Args:
        keys: where keys are stored.
        redis: announces what changed.
    """

    def __init__(self, keys: KeyStore, redis: Redis) -> None:
        self._keys = keys
        self._redis = redis

    async def revoke(self, key_id: str) -> bool:
        """Revoke a key; return whether there is such a key."""
        # Stored before it is announced: who hears the news asks PostgreSQL again.
        found = await self._keys.revoke(key_id)
        if found:
            await after_commit(lambda: self._announce_revoked(key_id))
        return found

    async def update(self, key_id: str, change: KeyChange) -> ApiKey | None:
        """Change a key; return it as it then is, None if there is no active one."""
        key = await self._keys.update(key_id, change)
        if key is not None:
            changed = key
            await after_commit(lambda: self._announce_changed(changed))
        return key

    async def rotate(self, key_id: str, secret: str, grace_s: int) -> tuple[ApiKey, datetime] | None:
        """Give a key another secret; the arguments, what is returned and `SecretKnown` are those of the store."""
        rotated = await self._keys.rotate(key_id, secret, grace_s)
        if rotated is not None:
            changed = rotated[0]
            await after_commit(lambda: self._announce_changed(changed))
        return rotated

    async def went_back(self, key_id: str, noted: int, revision: int) -> None:
        """Note the revision that PostgreSQL has of a key in the place of a later one that Redis has noted.

        Changes are committed before they are noted: PostgreSQL was restored to a state of before, and counts.
        """
        _log.warning(
            "PostgreSQL has an older state of key %s than Redis (its change %d, not %d), as after a restore: that of"
            " PostgreSQL counts.",
            key_id,
            revision,
            noted,
        )
        with suppress(*UNREACHABLE):  # whoever asks next finds it again
            await self._note(key_id, revision, noted)

    async def erased(self, key_id: str) -> None:
        """Announce that a key was erased, and delete what Redis counts of it. What runs is nobody's."""
        await after_commit(lambda: self._announce_erased(key_id))

    async def _announce_erased(self, key_id: str) -> None:
        await self._announce_revoked(key_id)
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.delete(rate_key(key_id), tokens_key(key_id), revision_key(key_id))
        async for budget in self._redis.scan_iter(match=budget_key("*"), count=1000):
            # What is held stays: requests that still run take their part of it away as they end (finish.lua).
            pipeline.hdel(budget, f"spent:{key_id}")
        await pipeline.execute()

    async def _announce_revoked(self, key_id: str) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.set(revoked_key(key_id), b"1", ex=REVOKED_LIFE_S)
        pipeline.publish(NEWS_CHANNEL, REVOKED + b" " + key_id.encode())
        await pipeline.execute()

    async def _announce_changed(self, key: ApiKey) -> None:
        await self._note(key.id, key.revision)

    async def _note(self, key_id: str, revision: int, *untrue: int) -> None:
        """Note a revision, also in the place of a later one that is not true, and tell every process."""
        # For who misses the news, which pub/sub does not keep.
        pipeline = self._redis.pipeline(transaction=False)
        scripts.add(pipeline, scripts.KEY_CHANGED, [revision_key(key_id)], revision, REVOKED_LIFE_S, *untrue)
        pipeline.publish(NEWS_CHANNEL, CHANGED + b" " + key_id.encode())
        await pipeline.execute()
