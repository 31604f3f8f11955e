"""Stored responses and conversations in a real database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import msgspec
import pytest

from shared.postgres.keys import KeyStore
from shared.postgres.responses import conversations as conversation_module
from shared.postgres.responses import store as store_module
from shared.postgres.responses.conversations import ConversationStore, FullConversation, Item
from shared.postgres.responses.store import LongChain, ResponseStore, StoredResponse
from workers.recording.retention import delete_old_responses

if TYPE_CHECKING:
    from shared.postgres.database import Database

NOW = datetime.now(UTC)


@pytest.fixture
def responses(database: Database) -> ResponseStore:
    """Return a store of responses on a fresh database."""
    return ResponseStore(database)


@pytest.fixture
def conversations(database: Database) -> ConversationStore:
    """Return a store of conversations on the same."""
    return ConversationStore(database)


def response(text: str, **fields: Any) -> StoredResponse:
    """Return a response of the internal token to this text, the first of its chain."""
    name = uuid4()
    values = {"id": name, "key_id": None, "root_id": name, "input": f'["{text}"]', "body": "{}", "created_at": NOW}
    return StoredResponse(**(values | fields))


def after(previous: StoredResponse, text: str, **fields: Any) -> StoredResponse:
    """Return a response of the same key that continues another."""
    kept = {"previous_id": previous.id, "root_id": previous.root_id, "key_id": previous.key_id}
    return response(text, **kept, **fields)


async def write(responses: ResponseStore, *wanted: StoredResponse) -> None:
    """Store responses that have no conversation."""
    for each in wanted:
        await responses.write(each, [f"item_{each.id.hex}"], [])


async def key(database: Database) -> UUID:
    """Return the id of a new key."""
    record, _ = await KeyStore(database).create("test", rpm_limit=60, admin_allowed=False)
    return UUID(str(record.id))


async def test_a_response_is_read_with_all_before_it(responses: ResponseStore) -> None:
    """In their order, from its root."""
    one = response("one")
    two = after(one, "two")
    three, other = after(two, "three"), after(two, "other")
    await write(responses, one, two, three, other)
    assert [each.input for each in await responses.chain(three.id, None)] == ['["one"]', '["two"]', '["three"]']
    assert await responses.find(three.id, None) == three
    assert await responses.chain(uuid4(), None) == []


async def test_a_response_that_is_written_twice_stands_once(responses: ResponseStore) -> None:
    """What is known better takes its place."""
    one = response("one")
    await write(responses, one, msgspec.structs.replace(one, body='{"status":"completed"}'))
    found = await responses.find(one.id, None)
    assert found is not None
    assert found.body == '{"status":"completed"}'


async def test_another_key_has_no_such_response(responses: ResponseStore, database: Database) -> None:
    """Nor has the internal token, whichever way it is asked for; and none continues another key's."""
    owner, other = await key(database), await key(database)
    mine = response("mine", key_id=owner)
    theirs = after(mine, "theirs")
    await write(responses, mine, msgspec.structs.replace(theirs, key_id=other))
    for stranger in (other, None):
        assert await responses.find(mine.id, stranger) is None
        assert await responses.chain(mine.id, stranger) == []
        assert await responses.having([f"item_{mine.id.hex}"], stranger) == []
        assert not await responses.delete(mine.id, stranger)
    assert [each.id for each in await responses.chain(theirs.id, other)] == [theirs.id]
    assert await responses.find(mine.id, owner) == mine


async def test_a_chain_without_one_of_its_responses_begins_after_it(responses: ResponseStore) -> None:
    """Which says what is missing."""
    one = response("one")
    two = after(one, "two")
    three = after(two, "three")
    await write(responses, one, two, three)
    assert await responses.delete(two.id, None)
    assert [each.previous_id for each in await responses.chain(three.id, None)] == [two.id]
    assert len(await responses.chain(one.id, None)) == 1


@pytest.mark.parametrize(("name", "most"), [("MOST_CHAIN", 3), ("MOST_CHAIN_BYTES", 20)])
async def test_a_chain_has_a_bound(
    responses: ResponseStore, monkeypatch: pytest.MonkeyPatch, name: str, most: int
) -> None:
    """In responses and in bytes."""
    monkeypatch.setattr(store_module, name, most)
    chain = [response("1")]
    for number in range(2, 5):
        chain.append(after(chain[-1], str(number)))
    await write(responses, *chain)
    # Each has seven bytes.
    fits = chain[2] if name == "MOST_CHAIN" else chain[1]
    assert len(await responses.chain(fits.id, None)) == chain.index(fits) + 1
    with pytest.raises(LongChain):
        await responses.chain(chain[3].id, None)


async def test_items_are_found_by_their_ids(responses: ResponseStore) -> None:
    """The newest response that has one comes first."""
    one, two = response("one"), response("two", created_at=NOW + timedelta(seconds=1))
    await responses.write(one, ["a", "b"], [])
    await responses.write(two, ["b", "c"], [])
    assert [asked for asked, _ in await responses.having(["b"], None)] == ['["two"]', '["one"]']
    assert [asked for asked, _ in await responses.having(["a", "z"], None)] == ['["one"]']
    assert await responses.having(["z"], None) == []


async def test_the_items_of_a_response_stand_in_its_conversation_once(
    responses: ResponseStore, conversations: ConversationStore
) -> None:
    """After those that are there, however often it is written; where there is no conversation, nowhere."""
    name = uuid4()
    await conversations.create(name, None, "{}", [Item("own", "1")])
    one = response("one", conversation_id=name)
    for _ in range(2):
        await responses.write(one, [], [Item("asked", "2"), Item("answered", "3")])
    found = await conversations.items(name)
    assert [(each.id, each.item) for each in found] == [("own", "1"), ("asked", "2"), ("answered", "3")]
    assert [each.response_id for each in found] == [None, one.id, one.id]
    await responses.write(response("x", conversation_id=uuid4()), [], [Item("x", "4")])
    assert len(await conversations.items(name)) == 3


async def test_a_conversation_is_its_keys_alone(conversations: ConversationStore, database: Database) -> None:
    """Others find none of this id, whatever they want of it."""
    owner, other, name = await key(database), await key(database), uuid4()
    await conversations.create(name, owner, '{"a":"b"}', [Item("one", "1")])
    for stranger in (other, None):
        assert await conversations.find(name, stranger) is None
        assert await conversations.update(name, stranger, "{}") is None
        assert not await conversations.add(name, stranger, [Item("two", "2")])
        assert await conversations.delete_item(name, stranger, "one") == (None, False)
        assert not await conversations.delete(name, stranger)
    found = await conversations.find(name, owner)
    assert found is not None
    assert found.metadata == '{"a":"b"}'
    assert len(await conversations.items(name)) == 1


async def test_items_are_added_and_deleted_up_to_a_bound(
    conversations: ConversationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In their order; an item that has gone leaves the others."""
    name = uuid4()
    monkeypatch.setattr(conversation_module, "MOST_ITEMS", 3)
    await conversations.create(name, None, "{}", [Item("one", "1"), Item("two", "2")])
    conversation, was_there = await conversations.delete_item(name, None, "one")
    assert conversation is not None
    assert (conversation.id, was_there) == (name, True)
    assert (await conversations.delete_item(name, None, "one"))[1] is False
    assert await conversations.add(name, None, [Item("three", "3"), Item("four", "4")])
    with pytest.raises(FullConversation):
        await conversations.add(name, None, [Item("five", "5")])
    assert [each.id for each in await conversations.items(name)] == ["two", "three", "four"]
    monkeypatch.setattr(conversation_module, "MOST_ITEM_BYTES", 1)
    with pytest.raises(FullConversation):
        await conversations.create(uuid4(), None, "{}", [Item("long", "12")])
    assert await conversations.delete(name, None)
    assert await conversations.items(name) == []


async def test_what_nobody_continued_goes(
    responses: ResponseStore, conversations: ConversationStore, database: Database
) -> None:
    """A response that one of the kept days continues stays, with all before it."""
    old, kept_root, name = (
        response("old", created_at=NOW - timedelta(days=40)),
        response("root", created_at=NOW - timedelta(days=40)),
        uuid4(),
    )
    kept = after(kept_root, "newer", created_at=NOW - timedelta(days=20))
    await write(responses, old, kept_root, kept)
    await conversations.create(name, None, "{}", [Item("one", "1")])
    await database.execute("UPDATE np_claw_conversations SET last_used_at = now() - interval '40 days'")
    assert await delete_old_responses(database, 41) == 0
    assert await delete_old_responses(database, 30) == 2
    assert await responses.find(old.id, None) is None
    assert await conversations.find(name, None) is None
    assert len(await responses.chain(kept.id, None)) == 2
    assert await delete_old_responses(database, 10**9) == 0


async def test_an_erased_key_stores_nothing_more(
    responses: ResponseStore, conversations: ConversationStore, database: Database
) -> None:
    """What ends after the erasure is left out."""
    owner, name = await key(database), uuid4()
    await database.execute("UPDATE np_claw_api_keys SET erased_at = now()")
    late = response("late", key_id=owner)
    await write(responses, late)
    await conversations.create(name, owner, "{}", [])
    assert await responses.find(late.id, owner) is None
    assert await conversations.find(name, owner) is None
