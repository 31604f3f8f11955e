"""Routing rules: the tiers of `auto` for a class of tasks, in order; np_claw_routing, as this process last read it.

A class of tasks is an endpoint, or a kind of chat that a request names (`task_classes.py`). A tier without a row is
enabled, at its default priority; for a kind of chat it is as it is for `chat`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from api.routing.task_classes import TASK_CLASSES, TaskClass
from shared.postgres import queries
from shared.postgres.database import DatabaseUnavailable
from shared.postgres.transaction import after_commit
from shared.process.tasks import Following
from shared.redis.names import NEWS_CHANNEL
from shared.types import Tier

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    import asyncpg
    from redis.asyncio import Redis

    from shared.postgres.database import Database

_log = logging.getLogger(__name__)

REFRESH_S: Final = 30.0
SourceTier = Literal["local", "free_gemini", "api_key"]
SOURCE_TIERS: Final[dict[Tier, SourceTier]] = {"local": "local", "gemini": "free_gemini", "paid": "api_key"}
"""The words of nSelf's clients for our tiers."""
DEFAULT_PRIORITIES: Final[dict[SourceTier, int]] = {"local": 10, "free_gemini": 20, "api_key": 30}
ALWAYS_SHOWN: Final[tuple[TaskClass, ...]] = ("chat", "embeddings")
"""Classes whose rules are shown also where nobody has changed one."""
_SOURCE_TIER_OF: Final[dict[str, SourceTier]] = {word: word for word in DEFAULT_PRIORITIES} | dict(SOURCE_TIERS.items())


class Rule(msgspec.Struct, frozen=True):
    """A tier that `auto` may use for a class of tasks, or may not; the lowest priority is tried first."""

    task_class: TaskClass
    source_tier: SourceTier
    priority: int
    enabled: bool


class RuleChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change of a rule; what is not given stays. Our own words for tiers are taken too."""

    task_class: TaskClass
    source_tier: Literal["local", "free_gemini", "api_key", "gemini", "paid"]
    priority: Annotated[int, msgspec.Meta(ge=0, le=100)] | msgspec.UnsetType = msgspec.UNSET
    enabled: bool | msgspec.UnsetType = msgspec.UNSET


class WrongRules(Exception):
    """The rules cannot be changed like this; the text names the field."""


class RoutingTable(Following):
    """The rules of `auto`. News refreshes them at once; a slow poll is the safety net.

    While PostgreSQL does not answer (`is_behind`), what was last read holds; before the first reading, the defaults.

    Args:
        database: where the rules are.
        redis: publishes changes to the other processes.
    """

    def __init__(self, database: Database, redis: Redis) -> None:
        super().__init__(REFRESH_S, name="routing table")
        self._database = database
        self._redis = redis
        self._tiers = _tiers_of(_rules_of(()))
        self._one_look = asyncio.Lock()
        self.is_behind = False

    def tiers(self, task_class: TaskClass) -> tuple[Tier, ...]:
        """Return the enabled tiers of `auto`, the first to try first."""
        return self._tiers[task_class]

    async def rules(self) -> list[Rule]:
        """Return all rules as they are in the database, the defaults among them; of kinds of chat, their own alone.

        Raises:
            DatabaseUnavailable: PostgreSQL cannot answer now.
        """
        rows = await self._database.fetch(queries.LIST_ROUTING)
        return _shown(_rules_of(rows), {row["task_class"] for row in rows})

    async def change(self, changes: Sequence[RuleChange]) -> list[Rule]:
        """Change rules, all or none, here and in every process; return all rules as they then are.

        Raises:
            WrongRules: a rule is named twice or changed in nothing, or a class would be left without a tier.
            DatabaseUnavailable: PostgreSQL cannot answer now; nothing was changed.
            RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`): the other processes see the
                change later.
        """
        _check(changes)
        async with self._database.connection() as connection, connection.transaction():
            # Two changes at once could each leave the last enabled tier of a class to the other.
            await connection.execute(queries.LOCK_ROUTING)
            rows = await connection.fetch(queries.LIST_ROUTING)
            rules = _rules_of(rows)
            changed = [_changed(rules[names_of(change)], change) for change in changes]
            rules |= {(rule.task_class, rule.source_tier): rule for rule in changed}
            for task_class, tiers in _tiers_of(rules).items():
                if not tiers:
                    raise WrongRules(f"enabled: The last tier of {task_class} cannot be switched off.")
            await connection.executemany(queries.SET_ROUTING, [msgspec.structs.astuple(rule) for rule in changed])
        await after_commit(self._announce)
        return _shown(rules, {row["task_class"] for row in rows} | {change.task_class for change in changes})

    async def _announce(self) -> None:
        # Before the reply: the next request here must find what was just set.
        await self.look()
        await self._redis.publish(NEWS_CHANNEL, b"routing")

    async def look(self) -> None:
        """Refresh the rules. One read at a time: an older one must not overwrite what a newer one saw."""
        try:
            async with self._one_look:
                self._tiers = _tiers_of(_rules_of(await self._database.fetch(queries.LIST_ROUTING)))
        except DatabaseUnavailable as error:
            if not self.is_behind:
                _log.warning("the routing configuration cannot be read, the last one stays in effect: %s", error)
            self.is_behind = True
        else:
            self.is_behind = False


def names_of(change: RuleChange) -> tuple[TaskClass, SourceTier]:
    """Return the class and the tier of the rule that is meant."""
    return change.task_class, _SOURCE_TIER_OF[change.source_tier]


def _check(changes: Iterable[RuleChange]) -> None:
    seen = set()
    for number, change in enumerate(changes):
        if names_of(change) in seen:
            raise WrongRules(f"source_tier is named twice for task_class {change.task_class} - at `$[{number}]`")
        if change.priority is msgspec.UNSET and change.enabled is msgspec.UNSET:
            raise WrongRules(f"priority or enabled must be given - at `$[{number}]`")
        if change.enabled is False and names_of(change) == ("embeddings", "local"):
            # Vectors of two models do not compare: the other tiers make some only for a model that is named.
            raise WrongRules(
                "enabled: Embeddings at local cannot be switched off: `auto` and `local` make them nowhere else"
                f" - at `$[{number}].enabled`"
            )
        seen.add(names_of(change))


def _changed(rule: Rule, change: RuleChange) -> Rule:
    return Rule(
        rule.task_class,
        rule.source_tier,
        rule.priority if change.priority is msgspec.UNSET else change.priority,
        rule.enabled if change.enabled is msgspec.UNSET else change.enabled,
    )


def _rules_of(rows: Iterable[asyncpg.Record]) -> dict[tuple[TaskClass, SourceTier], Rule]:
    """Return every rule; rows of unknown classes and tiers (of a newer version) are left out."""
    known = {(row["task_class"], row["source_tier"]): Rule(**row) for row in rows}
    found: dict[tuple[TaskClass, SourceTier], Rule] = {}
    for task_class in TASK_CLASSES:
        for source_tier, priority in DEFAULT_PRIORITIES.items():
            default = Rule(task_class, source_tier, priority, enabled=True)
            # "chat" is the first class, so its rules are there by now.
            if task_class not in ALWAYS_SHOWN:
                default = msgspec.structs.replace(found["chat", source_tier], task_class=task_class)
            found[task_class, source_tier] = known.get((task_class, source_tier), default)
    return found


def _shown(rules: Mapping[tuple[TaskClass, SourceTier], Rule], of_own: Collection[str]) -> list[Rule]:
    """Return the rules of endpoints, and of kinds of chat those that have some of their own."""
    return [rule for rule in rules.values() if rule.task_class in ALWAYS_SHOWN or rule.task_class in of_own]


def _tiers_of(rules: Mapping[tuple[TaskClass, SourceTier], Rule]) -> dict[TaskClass, tuple[Tier, ...]]:
    """Return the enabled tiers of each class by priority; those of one priority in the order local, gemini, paid."""
    return {
        task_class: tuple(
            sorted(
                (tier for tier, word in SOURCE_TIERS.items() if rules[task_class, word].enabled),
                key=lambda tier: rules[task_class, SOURCE_TIERS[tier]].priority,
            )
        )
        for task_class in TASK_CLASSES
    }
