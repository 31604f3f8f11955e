"""Keys in a real database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import msgspec
import pytest

from shared.postgres.keys import CHAT_KEY_HASH, KeyChange, KeyStore, hash_secret
from shared.postgres.ui.chat import ChatStore

if TYPE_CHECKING:
    from shared.postgres.database import Database


@pytest.fixture
def keys(database: Database) -> KeyStore:
    """Return a key store on a fresh database."""
    return KeyStore(database)


async def test_a_new_key_is_found_by_the_hash_of_its_secret(keys: KeyStore) -> None:
    """What create returns is what authentication later finds."""
    made, secret = await keys.create("myapp", rpm_limit=120, admin_allowed=True)
    assert await keys.find_by_hash(hash_secret(secret)) == made
    assert (made.name, made.rpm_limit, made.admin_allowed, made.is_active) == ("myapp", 120, True, True)
    assert secret.startswith(made.key_prefix)


async def test_the_secret_is_stored_nowhere(keys: KeyStore, database: Database) -> None:
    """Only its hash and its first characters are in the table."""
    _, secret = await keys.create("myapp")
    (row,) = await database.fetch("SELECT np_claw_api_keys::text AS whole FROM np_claw_api_keys")
    assert secret not in row["whole"]
    assert secret[20:] not in row["whole"]


async def test_a_revoked_key_is_not_found_and_listed_only_on_demand(keys: KeyStore) -> None:
    """Revoking is soft: the row stays, the key no longer opens anything."""
    kept, _ = await keys.create("kept")
    gone, secret = await keys.create("gone")
    assert await keys.revoke(gone.id)
    assert await keys.find_by_hash(hash_secret(secret)) is None
    assert [key.id for key in await keys.list()] == [kept.id]
    assert [(key.id, key.is_active) for key in await keys.list(include_revoked=True)] == [
        (kept.id, True),
        (gone.id, False),
    ]


async def test_revoking_twice_keeps_the_first_time(keys: KeyStore) -> None:
    """The existing CLI sends each command twice."""
    key, _ = await keys.create("gone")
    assert await keys.revoke(key.id)
    (first,) = await keys.list(include_revoked=True)
    assert await keys.revoke(key.id)
    assert await keys.list(include_revoked=True) == [first]


@pytest.mark.parametrize("key_id", [str(UUID(int=1)), "no uuid", ""])
async def test_revoking_an_unknown_key_reports_it(keys: KeyStore, key_id: str) -> None:
    """False, not an error, whatever the id looks like."""
    assert not await keys.revoke(key_id)


async def test_a_change_leaves_what_it_does_not_name(keys: KeyStore) -> None:
    """A budget can be set, changed and removed; to the millionth of a dollar."""
    key, secret = await keys.create("myapp", rpm_limit=5, admin_allowed=True)
    for budget_usd in (12.345678, 0.0, None):
        changed = await keys.update(key.id, KeyChange(monthly_budget_usd=budget_usd))
        key = msgspec.structs.replace(key, monthly_budget_usd=budget_usd, revision=key.revision + 1)
        assert changed == key
        assert await keys.find_by_hash(hash_secret(secret)) == changed
    assert await keys.update(key.id, KeyChange(admin_allowed=False)) == msgspec.structs.replace(
        key, admin_allowed=False, revision=key.revision + 1
    )


@pytest.mark.parametrize("key_id", [str(UUID(int=1)), "no uuid", ""])
async def test_a_key_that_is_not_there_is_not_changed(keys: KeyStore, key_id: str) -> None:
    """None, not an error; a revoked one is as good as gone."""
    assert await keys.update(key_id, KeyChange(rpm_limit=5)) is None
    key, _ = await keys.create("gone")
    await keys.revoke(key.id)
    assert await keys.update(key.id, KeyChange(rpm_limit=5)) is None


async def test_last_use_never_goes_back(keys: KeyStore) -> None:
    """Two recorders may write in any order."""
    key, _ = await keys.create("myapp")
    now = datetime.now(UTC)
    await keys.touch({key.id: now, str(uuid4()): now})
    await keys.touch({key.id: now - timedelta(minutes=1)})
    assert [found.last_used_at for found in await keys.list()] == [now]
    await keys.touch({})


async def test_the_chats_key_is_made_once_and_again_after_it_was_revoked(keys: KeyStore, database: Database) -> None:
    """No secret opens it; it is an admin's, and has limits as others have."""
    chat = ChatStore(database)
    await asyncio.gather(chat.make_key(), chat.make_key())
    await chat.make_key()
    (made,) = await keys.list()
    assert await keys.find_by_hash(CHAT_KEY_HASH) == made
    assert (made.name, made.is_built_in, made.admin_allowed, made.rpm_limit) == ("web-ui", True, True, 60)
    await keys.revoke(made.id)
    assert await keys.find_by_hash(CHAT_KEY_HASH) is None
    await chat.make_key()
    again = await keys.find_by_hash(CHAT_KEY_HASH)
    assert again is not None
    assert again.id != made.id
    ours, _ = await keys.create("web-ui")
    assert not ours.is_built_in
