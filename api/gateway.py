"""The parts of one api process, and how it starts and stops."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Any, Final

from api.accounting.budget import Budget
from api.accounting.usage_log import Ledger
from api.admission.auth import Authenticator
from api.relay.receiver import RelayClient
from api.routing.live_backends import Capacity
from api.routing.router import Router
from api.routing.rules import RoutingTable
from shared.postgres.database import Database, DatabaseUnavailable
from shared.postgres.keys import KeyStore
from shared.process.tasks import end_all
from shared.redis import client as redis_client
from shared.redis.names import NEWS_CHANNEL, revoked_key
from shared.relay import ID_SIZE

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from shared.postgres.keys import ApiKey, KeyChange
    from shared.settings import Settings

_log = logging.getLogger(__name__)

REVOKED_LIFE_S: Final = 7 * 24 * 3600
MIGRATE_RETRY_S: Final = 1.0


class Gateway:
    """One api process. Nothing happens before `start`.

    Args:
        settings: what is configured.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.api_id = os.urandom(ID_SIZE)
        self.redis = redis_client.connect(settings.redis_url or "")
        self.database = Database(settings.database_url or "")
        self.keys = KeyStore(self.database)
        self.authenticator = Authenticator(settings, self.keys)
        self.capacity = Capacity(self.redis)
        self.routing_table = RoutingTable(self.database, self.redis)
        self.router = Router(self.capacity, settings, self.routing_table)
        self.budget = Budget(settings.monthly_budget_usd, self.database, self.redis)
        self.ledger = Ledger(self.redis, self.api_id.hex())
        self.relay = RelayClient(
            settings, self.redis, self.api_id, on_news=self._heed, is_served=self.capacity.is_served
        )
        self.draining = False
        self.is_cut = False
        self.migrated = False
        self.was_ready = False
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Subscribe, look for workers, and bring the database's schema up to date in the background."""
        await self.database.__aenter__()
        await self.relay.start()
        await self.capacity.start()
        self.ledger.start()
        self.spawn(self._migrate(), name="migrate")

    def cut(self) -> None:
        """The drain time is over: every request that is still open ends now, as `Draining`."""
        self.is_cut = True
        self.relay.cut()

    async def stop(self) -> None:
        """Say goodbye to Redis and PostgreSQL; every response has ended by now."""
        await self.capacity.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2)
        await end_all(*self._tasks)
        await self.relay.settle()
        await self.routing_table.stop()
        await self.budget.stop()
        await self.ledger.stop()
        await self.relay.stop()
        await self.database.__aexit__(None, None, None)
        await redis_client.close(self.redis)

    def spawn(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        """Do something beside the requests; it is waited for at the end."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def revoke(self, key_id: str) -> bool:
        """Revoke a key here and in every process; whether there is such a key.

        Raises:
            DatabaseUnavailable: PostgreSQL or Redis does not answer; the key may still work, try again.
        """
        found = await self.keys.revoke(key_id)
        if found:
            pipeline = self.redis.pipeline(transaction=False)
            pipeline.set(revoked_key(key_id), b"1", ex=REVOKED_LIFE_S)
            pipeline.publish(NEWS_CHANNEL, b"revoked " + key_id.encode())
            try:
                await pipeline.execute()
            except redis_client.UNREACHABLE as error:
                raise DatabaseUnavailable("Redis does not answer: the revocation may not be known yet") from error
        return found

    async def update_key(self, key_id: str, change: KeyChange) -> ApiKey | None:
        """Change a key here and in every process; returns it as it then is, None if there is no active one.

        Raises:
            DatabaseUnavailable: PostgreSQL or Redis does not answer; the change may not be known yet, try again.
        """
        key = await self.keys.update(key_id, change)
        if key is not None:
            try:
                await self.redis.publish(NEWS_CHANNEL, b"changed " + key.id.encode())
            except redis_client.UNREACHABLE as error:
                raise DatabaseUnavailable("Redis does not answer: the change may not be known yet") from error
        return key

    def _heed(self, news: bytes) -> None:
        kind, _, rest = news.partition(b" ")
        if kind == b"workers":
            self.capacity.changed()
        elif kind == b"revoked":
            self.authenticator.revoked(rest.decode())
        elif kind == b"changed":
            self.authenticator.changed(rest.decode())
        elif kind == b"routing":
            self.routing_table.changed()
        elif kind == b"reconnected":
            self.capacity.changed()
            self.authenticator.doubt()
            self.routing_table.changed()
            self.budget.doubt()

    async def _migrate(self) -> None:
        while True:
            try:
                await self.database.migrate()
            except DatabaseUnavailable as error:
                _log.warning("the database's schema cannot be checked yet: %s", error)
                await asyncio.sleep(MIGRATE_RETRY_S)
            else:
                await self.routing_table.start()
                await self.budget.start()
                self.migrated = True
                return
