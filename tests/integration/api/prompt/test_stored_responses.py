"""Responses of which some wait for PostgreSQL, in any order: where a recorder died, another takes its own over late."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import pytest

from api.prompt.responses.stored import BrokenChain, StoredResponses
from shared.dialects.stored.pending import PendingResponse, StoredHead
from shared.ids import new_request_id
from shared.redis.names import done_in_conversation_key, done_response_key
from workers.recording.responses import ResponseLog

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from shared.postgres.database import Database
    from shared.postgres.responses.conversations import ConversationItem


async def ended(redis: Redis, count: int, conversation: str = "") -> list[str]:
    """Return the ids of responses that followed each other: each continues the one before, or is of a conversation."""
    names: list[str] = [new_request_id() for _ in range(count)]
    for name, previous in zip(names, [None, *names], strict=False):
        head = StoredHead(root_id=names[0], previous_id=previous or "")
        if conversation:
            head = StoredHead(root_id=name, conversation_id=conversation)
            await redis.rpush(done_in_conversation_key(conversation), name)  # type: ignore[misc]  # redis-py: or awaitable
        items = [{"type": "message", "id": f"msg_{name}", "role": "user", "content": []}]
        pending = PendingResponse(
            id=name,
            head=head,
            created_ms=1_795_000_000_000,
            input=msgspec.Raw(msgspec.json.encode(items)),
            body=msgspec.Raw(b'{"status":"completed","output":[]}'),
        )
        await redis.set(done_response_key(name), msgspec.json.encode(pending), ex=60)
    return names


@pytest.mark.parametrize("stored", list(itertools.permutations(range(3), 2)))
async def test_a_chain_is_whole_whichever_of_it_are_stored(
    redis: Redis, database: Database, stored: tuple[int, int]
) -> None:
    """It was taken for broken where an earlier one waited still; what is nowhere is missing."""
    names = await ended(redis, 3)
    responses, log = StoredResponses(redis, database), ResponseLog(redis, database)
    for number in stored:
        await log.store([names[number]])
        assert [each.id.hex for each in await responses.chain(names[2], None)] == names
    await redis.delete(done_response_key(names[1]))
    if 1 not in stored:
        with pytest.raises(BrokenChain) as broken:
            await responses.chain(names[2], None)
        assert broken.value.args == (UUID(names[1]),)


async def test_a_conversation_has_its_responses_in_the_order_in_which_they_ended(
    redis: Redis, database: Database
) -> None:
    """Though the recorder hears of the last one alone, and of the others later."""
    conversation = UUID(new_request_id())
    responses = StoredResponses(redis, database)
    await responses.conversations.create(conversation, None, "{}", [])
    names = await ended(redis, 3, conversation.hex)
    await ResponseLog(redis, database).store([names[2], names[0]])
    assert [name for name, _ in await responses.conversation_items(conversation.hex)] == names
    stored = await responses.conversations.items(conversation)
    assert [each.response_id.hex for each in stored if each.response_id] == names


@pytest.mark.parametrize("is_descending", [False, True])
@pytest.mark.parametrize("limit", [2, 3, 9])
async def test_a_page_has_each_item_once_though_some_are_stored_while_it_is_read(
    redis: Redis, database: Database, monkeypatch: pytest.MonkeyPatch, limit: int, *, is_descending: bool
) -> None:
    """They were looked for in Redis, and then in PostgreSQL, where they had come to in between."""
    conversation = UUID(new_request_id())
    responses, log = StoredResponses(redis, database), ResponseLog(redis, database)
    await responses.conversations.create(conversation, None, "{}", [])
    names = await ended(redis, 3, conversation.hex)
    page = responses.conversations.page

    async def stored_meanwhile(*arguments: Any, **options: Any) -> list[ConversationItem]:
        await log.store(names)
        return await page(*arguments, **options)

    monkeypatch.setattr(responses.conversations, "page", stored_meanwhile)
    found = await responses.items_page(conversation.hex, None, limit, is_descending=is_descending)
    assert found is not None
    ordered = [f"msg_{name}" for name in (names[::-1] if is_descending else names)]
    assert ([each.id for each in found[0]], found[1]) == (ordered[:limit], limit < 3)
