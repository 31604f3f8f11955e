"""Takes a snapshot: asks PostgreSQL, Redis and what this process knows. What does not answer is left out by name."""

from __future__ import annotations

import asyncio
import platform
from collections import Counter
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from api.endpoints.manage.gemini_usage import read_use
from api.prompt.machine import look_at_machine
from api.prompt.snapshot import (
    MOST_FAILURES,
    MOST_MODELS,
    MOST_QUEUES,
    MOST_TABLES,
    Failures,
    Queue,
    Quotas,
    Service,
    Snapshot,
    Spend,
    Table,
    TierState,
    bounded,
    known_form,
    secrets_of,
    without_secrets,
)
from shared.models.catalogue import Quota
from shared.postgres import queries
from shared.postgres.database import DatabaseUnavailable
from shared.postgres.gemini_accounts import known_accounts
from shared.process.threads import in_thread
from shared.redis.client import UNREACHABLE
from shared.redis.names import USAGE_STREAM, running_key
from shared.types import TIERS

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from redis.asyncio import Redis

    from api.accounting.budget import Budget
    from api.routing.live_backends import Capacity
    from api.routing.rules import RoutingTable
    from shared.postgres.database import Database
    from shared.settings import Settings

PART_S: Final = 3.0
"""Time that one part may take."""
RECORDER_GROUP: Final = "recorder"
RECORDER_IDLE_MS: Final = 10_000
"""A recorder asks the stream every second; one that was not heard of for so long does not run."""
_DISTRIBUTION: Final = "nself-claw-gateway"
_Part = TypeVar("_Part")


class Survey:
    """Takes snapshots.

    Args:
        settings: those of this process.
        database: where usage and schema are.
        redis: where queues and quotas are.
        capacity: knows the live workers.
        routing_table: knows the tiers of `auto`.
        budget: knows what was spent.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        database: Database,
        redis: Redis,
        capacity: Capacity,
        routing_table: RoutingTable,
        budget: Budget,
    ) -> None:
        self._settings = settings
        self._database = database
        self._redis = redis
        self._capacity = capacity
        self._routing_table = routing_table
        self._budget = budget

    async def take(self) -> Snapshot:
        """Take a snapshot now. Raises nothing for what does not answer."""
        unknown: list[str] = []

        async def part(name: str, awaited: Awaitable[_Part]) -> _Part | None:
            try:
                async with asyncio.timeout(PART_S):
                    return await awaited
            except (DatabaseUnavailable, msgspec.MsgspecError, *UNREACHABLE):
                unknown.append(name)
                return None

        machine = await in_thread(look_at_machine, self._settings.data_dir)
        postgres = await part("postgres", self._postgres())
        redis = await part("redis", self._redis_version())
        recorder = await part("recorder", self._recorder_runs())
        schema = await part("schema", self._schema())
        tiers = self._tiers()
        snapshot = Snapshot(
            captured_at=datetime.now(UTC),
            versions={
                "gateway": metadata.version(_DISTRIBUTION),
                "python": platform.python_version(),
                "postgres": postgres or "",
                "redis": redis or "",
            },
            machine=machine,
            services=self._services(has_postgres=bool(postgres), has_redis=bool(redis), has_recorder=bool(recorder)),
            queues=await part("queues", self._queues()),
            tiers=tiers,
            quotas=await part("quotas", self._quotas()),
            spend=await part("spend", self._spend()),
            failed_last_hour=await part("failed_last_hour", self._failures()),
            schema=schema,
            table_count=None if schema is None else len(schema),
            unknown=unknown,
        )
        return without_secrets(snapshot, secrets_of(self._settings))

    def _services(self, *, has_postgres: bool, has_redis: bool, has_recorder: bool) -> list[Service]:
        live = {backend.tier for backend in self._capacity.backends()}
        return [
            Service("api", running=True),
            Service("postgres", running=has_postgres),
            Service("redis", running=has_redis),
            Service("recorder", running=has_recorder),
            *(Service(f"worker {tier}", running=tier in live) for tier in TIERS),
        ]

    def _tiers(self) -> list[TierState]:
        order = self._routing_table.tiers("chat")
        found = []
        for tier in TIERS:
            models, more = bounded(self._capacity.models(tier), MOST_MODELS)
            found.append(TierState(tier, order.index(tier) + 1 if tier in order else 0, models, more))
        return found

    async def _postgres(self) -> str:
        row = await self._database.fetchrow(queries.POSTGRES_VERSION)
        return "" if row is None else f"{row['server']} (schema {row['schema']})"

    async def _redis_version(self) -> str:
        info: dict[str, Any] = await self._redis.info("server")
        # Valkey says a version of Redis as well, for clients that look for one.
        return str(info.get("valkey_version") or info.get("redis_version") or "unknown")

    async def _recorder_runs(self) -> bool:
        consumers = await self._redis.xinfo_consumers(USAGE_STREAM, RECORDER_GROUP)
        return any(consumer["idle"] < RECORDER_IDLE_MS for consumer in consumers)

    async def _queues(self) -> list[Queue]:
        backends = {backend.queue: backend for backend in self._capacity.backends()}
        pipeline = self._redis.pipeline(transaction=False)
        for queue in backends:
            pipeline.zcard(queue)
            pipeline.zcard(running_key(queue))
        counts = await pipeline.execute() if backends else []
        found = []
        for place, (queue, backend) in enumerate(backends.items()):
            load = self._capacity.load(queue)
            waiting, running = counts[2 * place], counts[2 * place + 1]
            slots = backend.slots if load is None else load.slots
            found.append(Queue(backend.tier, known_form(backend.provider), waiting, running, slots))
        return sorted(found, key=lambda each: -each.waiting)[:MOST_QUEUES]

    async def _quotas(self) -> Quotas:
        accounts = list((await known_accounts(self._redis)).values())
        uses = await read_use(self._redis, [(account, Quota()) for account in accounts], self._settings.catalogue)
        return Quotas(
            accounts=dict(Counter(str(use.state) for use in uses)),
            requests_today=sum(use.requests_used_today for use in uses),
            tokens_today=sum(use.tokens_used_today for use in uses),
        )

    async def _spend(self) -> Spend:
        state = await self._budget.state()
        return Spend(state.month, state.limit_usd, state.spent_usd, state.held_usd, state.remaining_usd)

    async def _failures(self) -> list[Failures]:
        rows = await self._database.fetch(queries.FAILED_LAST_HOUR, MOST_FAILURES)
        return [
            Failures(row["status"], known_form(row["code"] or ""), row["tier"], known_form(row["model"]), row["count"])
            for row in rows
        ]

    async def _schema(self) -> list[Table]:
        rows = await self._database.fetch(queries.OWN_TABLES, MOST_TABLES)
        return [Table(row["name"], row["columns"], max(0, row["rows_about"])) for row in rows]
