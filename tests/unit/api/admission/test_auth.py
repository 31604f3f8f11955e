"""api/admission/auth.py."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import pytest

from api.admission.auth import Authenticator
from shared.errors import Overloaded
from shared.postgres.database import DatabaseUnavailable
from shared.postgres.keys import ApiKey, KeyStore, hash_secret
from shared.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

HASH = hash_secret("sk-nself-1")


def key(rpm_limit: int) -> ApiKey:
    """Return a key with this limit."""
    return ApiKey(
        id="k",
        name="k",
        key_prefix="sk-nself-1",
        rpm_limit=rpm_limit,
        admin_allowed=False,
        created_at=datetime.now(UTC),
    )


@dataclass
class Lookups:
    """In the place of the store of keys: each lookup waits until the test lets it go on."""

    limits: list[int] = field(default_factory=lambda: [1, 2, 3])
    asked: int = 0
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    is_down: bool = False

    async def find_by_hash(self, key_hash: bytes) -> ApiKey:
        """Answer with a key whose limit counts the lookups."""
        assert key_hash == HASH
        limit = self.limits[self.asked]
        self.asked += 1
        await self.may_answer.wait()
        if self.is_down:
            raise DatabaseUnavailable("is down")
        return key(limit)


@pytest.fixture
def lookups() -> Lookups:
    """Return a store that has the key."""
    return Lookups()


@pytest.fixture
def authenticator(lookups: Lookups, tmp_path: Path) -> Authenticator:
    """Return one that asks it."""
    return Authenticator(load_settings({"CLAW_DATA_DIR": str(tmp_path)}), cast("KeyStore", lookups))


async def begun(authenticator: Authenticator, count: int) -> list[asyncio.Task[int]]:
    """Start requests of the key, and let each come as far as it can."""

    async def limit() -> int:
        return (await authenticator.holder_of(HASH)).rpm_limit

    tasks = [asyncio.create_task(limit()) for _ in range(count)]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_requests_that_come_together_look_a_key_up_once(authenticator: Authenticator, lookups: Lookups) -> None:
    """A thousand of them do not stand in line for the connections to PostgreSQL."""
    tasks = await begun(authenticator, 1000)
    lookups.may_answer.set()
    assert set(await asyncio.gather(*tasks)) == {1}
    assert lookups.asked == 1


async def test_who_leaves_takes_the_lookup_from_nobody(authenticator: Authenticator, lookups: Lookups) -> None:
    """The first of them began it; the others get its answer."""
    first, *others = await begun(authenticator, 3)
    first.cancel()
    await asyncio.wait({first})
    lookups.may_answer.set()
    assert await asyncio.gather(*others) == [1, 1]


async def test_who_comes_after_a_change_gets_no_older_answer(authenticator: Authenticator, lookups: Lookups) -> None:
    """What is being read may be of before the change."""
    before = await begun(authenticator, 2)
    authenticator.invalidate("k")
    after = await begun(authenticator, 2)
    lookups.may_answer.set()
    assert await asyncio.gather(*before, *after) == [1, 1, 2, 2]


async def test_all_are_told_that_the_database_is_down(authenticator: Authenticator, lookups: Lookups) -> None:
    """And the next one asks anew."""
    tasks = await begun(authenticator, 3)
    lookups.is_down = True
    lookups.may_answer.set()
    failures = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(failure) for failure in failures] == [Overloaded] * 3
    lookups.is_down = False
    assert (await authenticator.holder_of(HASH)).rpm_limit == 2
