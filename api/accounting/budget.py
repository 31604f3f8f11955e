"""Spending at paid APIs in a month of UTC, and reservations: one hash in Redis, in billionths of a US dollar.

Its fields: `spent`, `held`, `spent:<owner>`, `held:<owner>`, `r:<request>` for each reservation; an owner is a key's id
or `internal`. Admission and the end of a request change it (admit.lua, enqueue.lua, finish.lua). A hash that is not
`seeded` belongs to a Redis that is new or lost its data: then what was spent is taken from the usage log.
"""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

import msgspec

from shared.models.catalogue import NANO_USD, nano_usd
from shared.postgres import queries, stats_queries
from shared.postgres.database import DatabaseUnavailable
from shared.postgres.keys import ApiKey, KeyStore
from shared.process.tasks import Following
from shared.redis import scripts
from shared.redis.client import UNREACHABLE
from shared.redis.names import USAGE_STREAM, budget_key, owner_of, verdict_key
from shared.usage import UsageRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from redis.asyncio import Redis

    from shared.postgres.database import Database

_log = logging.getLogger(__name__)

CHECK_S: Final = 60.0
WARNED_SHARES: Final = (0.8, 1.0)
"""Parts of the budget at which the operator is warned."""
RETRY_S: Final = 1.0
LIFE_S: Final = 70 * 24 * 3600
SUM_TIMEOUT_S: Final = 60.0
PAGE: Final = 1000
LATE: Final = timedelta(hours=1)
"""For how long after it was recorded a request may be closed once more, by who waits for a Redis that is away."""
MOST_LATE: Final = 10_000
"""So many requests hold Redis for some 30 ms, once."""
_ORPHANED: Final = "orphaned"
_SETTLED: Final = "s:"
_decoder: Final = msgspec.json.Decoder(UsageRecord)


class Month(NamedTuple):
    """A month of UTC: its first day, and the first of the next one."""

    start: date
    end: date

    @property
    def name(self) -> str:
        """Return it as in `2026-11`."""
        return f"{self.start:%Y-%m}"

    @property
    def resets_at(self) -> str:
        """Return when it is over, in ISO 8601."""
        return f"{self.end.isoformat()}T00:00:00Z"

    def has(self, time_ms: int) -> bool:
        """Return whether a moment is in it. Milliseconds since 1970."""
        start, end = (datetime(day.year, day.month, 1, tzinfo=UTC).timestamp() for day in self)
        return start * 1000 <= time_ms < end * 1000


def month_at(moment: datetime) -> Month:
    """Return the month of UTC that a moment is in."""
    start = moment.astimezone(UTC).date().replace(day=1)
    # 31 days after a first is always in the next month.
    return Month(start, (start + timedelta(days=31)).replace(day=1))


class _LateRequest(NamedTuple):
    """A paid request of the usage log, as seed_budget.lua takes it."""

    request_id: str
    attempt: int
    cost_nano_usd: int
    owner: str


class _Logged(NamedTuple):
    """The usage log of a month: paid requests recorded of late, and the sums of all others by owner.

    `settled` are the requests that Redis has charged itself.
    """

    settled: set[str]
    late: list[_LateRequest]
    spent: dict[str, int]


class OwnerBudget(msgspec.Struct, frozen=True, kw_only=True):
    """Spending and reservations of a key, or of the internal token. US dollars; a limit of None is none of its own."""

    key_id: str
    key_name: str
    limit_usd: float | None
    spent_usd: float
    held_usd: float


class BudgetState(msgspec.Struct, frozen=True, kw_only=True):
    """A month's budget. US dollars; without a limit there is no remainder."""

    month: str
    limit_usd: float | None
    spent_usd: float
    held_usd: float
    remaining_usd: float | None
    resets_at: str
    keys: tuple[OwnerBudget, ...]


class Budget(Following):
    """Fills the month's budget with what was spent before Redis knew it: Redis may be new, or may have lost its data.

    Args:
        limit_usd: what may be spent in a month; None for any sum.
        database: has the usage log.
        redis: has the budgets.
    """

    def __init__(self, limit_usd: float | None, database: Database, redis: Redis) -> None:
        super().__init__(lambda: RETRY_S if self._failed else CHECK_S, name="budget")
        self._limit_usd = limit_usd
        self._database = database
        self._redis = redis
        self._failed = False
        self._warned = ("", 0.0)

    async def seed(self, month: Month) -> bool:
        """Add what the usage log knows of a month to its budget, once; return whether it was added now.

        Whoever calls this at the same time, it is done once, and every request counts once: those on their way to the
        log, those in the log, and those that were settled in Redis since it lost its data. Hence the order: a request
        goes from the stream to the log, and what is settled in Redis comes to the log later, or was there lately and is
        said once more: seed_budget.lua knows those.

        Raises:
            DatabaseUnavailable: PostgreSQL cannot answer now.
            RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
        """
        budget = budget_key(month.name)
        if await self._redis.hexists(budget, "seeded"):  # type: ignore[misc]  # redis-py: or awaitable
            return False
        on_their_way = await self._unrecorded(month)
        logged = await self._logged(month, on_their_way.keys())
        spent = logged.spent
        for request_id, record in on_their_way.items():
            if request_id not in logged.settled:
                owner = owner_of(record.key_id)
                spent[owner] = spent.get(owner, 0) + nano_usd(record.cost_usd)
        sums = [("spent", sum(spent.values())), *((f"spent:{owner}", nano) for owner, nano in spent.items())]
        keys = [budget, *(verdict_key(request.request_id) for request in logged.late)]
        arguments = [argument for row in (*logged.late, *sums) for argument in row]
        done = await scripts.run(self._redis, scripts.SEED_BUDGET, keys, LIFE_S, *arguments)
        nano = sums[0][1] + sum(request.cost_nano_usd for request in logged.late)
        if done and nano:
            _log.info("the budget of %s starts with $%.6f from the usage log", month.name, nano / NANO_USD)
        return bool(done)

    async def _logged(self, month: Month, on_their_way: AbstractSet[str]) -> _Logged:
        """Return what the usage log knows of a month, without those on their way to it and those settled in Redis."""
        async with (
            self._database.connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            await connection.execute(queries.PING)  # what is recorded from now on is not seen below
            fields = await self._redis.hkeys(budget_key(month.name))  # type: ignore[misc]  # redis-py: or awaitable
            settled = {field.decode().removeprefix(_SETTLED) for field in fields if field.startswith(_SETTLED.encode())}
            fetch = partial(connection.fetch, timeout=SUM_TIMEOUT_S)
            # Of one that Redis has charged seed_budget.lua compares the two: the log may know of a later attempt.
            without = [UUID(request_id) for request_id in on_their_way - settled]
            recent = await fetch(stats_queries.RECENT_PAID_USAGE, month.start, month.end, without, LATE, MOST_LATE)
            late = [_LateRequest(row["id"].hex, row["attempt"], row["nano_usd"], _owner(row)) for row in recent]
            counted = on_their_way | settled.union(request.request_id for request in late)
            rows = await fetch(stats_queries.PAID_USAGE, month.start, month.end, [UUID(each) for each in counted])
        return _Logged(settled, late, {_owner(row): row["nano_usd"] for row in rows})

    async def state(self) -> BudgetState:
        """Return this month's budget, and that of each key that has a limit or spent something.

        Raises:
            DatabaseUnavailable: PostgreSQL cannot answer now.
            RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
        """
        month = month_at(datetime.now(UTC))
        # A Redis that has just lost its data would show nothing as spent.
        await self.seed(month)
        fields = await self._redis.hgetall(budget_key(month.name))  # type: ignore[misc]  # redis-py: or awaitable
        sums = {
            field.decode(): int(nano)
            for field, nano in fields.items()
            if field.partition(b":")[0] in {b"spent", b"held"}
        }
        spent, held = sums.get("spent", 0), sums.get("held", 0)
        remaining_usd = None
        if self._limit_usd is not None:
            remaining_usd = max(0, nano_usd(self._limit_usd) - spent - held) / NANO_USD
        return BudgetState(
            month=month.name,
            limit_usd=self._limit_usd,
            spent_usd=spent / NANO_USD,
            held_usd=held / NANO_USD,
            remaining_usd=remaining_usd,
            resets_at=month.resets_at,
            keys=_owners(await KeyStore(self._database).list(include_revoked=True), sums),
        )

    async def _unrecorded(self, month: Month) -> dict[str, UsageRecord]:
        """Return the paid requests of a month that wait for a recorder, by their id's hex digits."""
        found: dict[str, UsageRecord] = {}
        after = "-"
        while entries := await self._redis.xrange(USAGE_STREAM, min=after, count=PAGE):
            for _, fields in entries:
                record = _paid(fields.get(b"r", b""), month)
                if record is None:
                    continue
                # A request closed as orphaned may have a second entry that says how it ended: that one counts.
                known = found.get(record.request_id)
                if known is None or record.attempts > known.attempts or known.error_code == _ORPHANED:
                    found[record.request_id] = record
            after = "(" + entries[-1][0].decode()  # "(" leaves that entry out
        return found

    async def look(self) -> None:
        """Fill this month's budget if it is not filled, and warn when it is nearly spent."""
        try:
            month = month_at(datetime.now(UTC))
            await self.seed(month)
            await self._warn(month)
        except (DatabaseUnavailable, *UNREACHABLE) as error:
            if not self._failed:
                _log.warning("this month's spending cannot be read yet: %s", error or type(error).__name__)
            self._failed = True
        else:
            self._failed = False

    async def _warn(self, month: Month) -> None:
        """Warn the operator once when most of the month's budget is spent, and once when all of it is."""
        if not self._limit_usd:  # of a budget of 0 all is always spent
            return
        spent = int(await self._redis.hget(budget_key(month.name), "spent") or 0) / NANO_USD  # type: ignore[misc]  # redis-py: or awaitable
        share = max((share for share in WARNED_SHARES if spent >= share * self._limit_usd), default=0.0)
        # A later month is greater whatever its share, so each month warns anew.
        if share and (month.name, share) > self._warned:
            self._warned = (month.name, share)
            message = "%s: $%.2f of the budget of $%.2f for paid models is spent"
            _log.warning(message, month.name, spent, self._limit_usd)


def _paid(raw: bytes, month: Month) -> UsageRecord | None:
    """Decode a usage record; None if it is none that costs something in this month."""
    try:
        record = _decoder.decode(raw)
        UUID(record.request_id)
    except (msgspec.MsgspecError, ValueError):  # the recorder puts it aside
        return None
    # As the log has it, and so the sums: a request is of the day of its admission, whenever it ended.
    return record if record.cost_usd > 0 and month.has(record.admitted_ms) else None


def _owner(row: Mapping[str, Any]) -> str:
    """Return who pays for a row of the usage log."""
    return owner_of(row["key_id"] and str(row["key_id"]))


def _owners(keys: Iterable[ApiKey], sums: Mapping[str, int]) -> tuple[OwnerBudget, ...]:
    """Return who has a limit or a part in the sums (billionths of US dollars), whoever spent most first."""
    active = {key.id: key for key in keys if key.is_active}
    names = {owner_of(None): owner_of(None), **{key.id: key.name for key in keys}}
    with_sums = {field.partition(":")[2] for field, nano in sums.items() if ":" in field and nano}
    owners = [
        OwnerBudget(
            key_id=owner,
            key_name=names.get(owner, ""),
            limit_usd=active[owner].monthly_budget_usd if owner in active else None,
            spent_usd=sums.get(f"spent:{owner}", 0) / NANO_USD,
            held_usd=sums.get(f"held:{owner}", 0) / NANO_USD,
        )
        for owner in with_sums | {key.id for key in active.values() if key.monthly_budget_usd is not None}
    ]
    return tuple(sorted(owners, key=lambda owner: (-owner.spent_usd, owner.key_name, owner.key_id)))
