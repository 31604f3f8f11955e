"""Stored responses and conversations, as they are now: what is in PostgreSQL, and what waits for it in Redis.

Redis is asked first: what is not there any more by then is in PostgreSQL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec

from shared.dialects.stored.items import items_of, output_of, response_of_item
from shared.dialects.stored.pending import PendingResponse
from shared.postgres.responses.conversations import ConversationItem, ConversationStore
from shared.postgres.responses.rows import context_of, conversation_items, to_row
from shared.postgres.responses.store import (
    MOST_CHAIN,
    MOST_CHAIN_BYTES,
    LongChain,
    ResponseStore,
    StoredResponse,
)
from shared.process.tasks import work_beside
from shared.redis.names import (
    done_in_conversation_key,
    done_response_key,
    open_response_key,
    owner_of,
    removed_response_key,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from redis.asyncio import Redis

    from shared.postgres.database import Database
    from shared.postgres.responses.conversations import Conversation

REMOVED_S: Final = 86_400
"""For how long it is known that a response was deleted: what ends later than that is closed by nobody."""
_pending: Final = msgspec.json.Decoder(PendingResponse)


class BrokenChain(Exception):
    """A response of a chain is not there any more. Its argument is the id."""


class StoredResponses:
    """The stored responses and conversations of all keys; each key sees its own alone.

    Every method raises `DatabaseUnavailable` while PostgreSQL cannot answer, and `UNREACHABLE` while Redis cannot.

    Args:
        redis: has what is not in PostgreSQL yet.
        database: has all else.
    """

    def __init__(self, redis: Redis, database: Database) -> None:
        self._redis = redis
        self._store = ResponseStore(database)
        self.conversations = ConversationStore(database)

    async def find(self, response_id: str, key_id: str | None) -> StoredResponse | None:
        """Return a response that has ended, None where the key has none of this id (hex digits)."""
        pending = await self._waiting(response_id, key_id)
        return pending or await self._store.find(UUID(response_id), _uuid(key_id))

    async def chain(self, response_id: str, key_id: str | None) -> list[StoredResponse]:
        """Return a response with all those before it, the first one first; nothing where there is none of this id.

        Raises:
            BrokenChain: one of those before it was deleted.
            LongChain: there is too much of it.
        """
        newest_first: list[StoredResponse] = []
        name: UUID | None = UUID(response_id)
        while name is not None:
            # Any of them may wait, also before one that is stored: recorders take over late what one left that died.
            pending = await self._waiting(name.hex, key_id)
            found = await self._store.chain(name, _uuid(key_id)) if pending is None else [pending]
            if not found and newest_first:
                raise BrokenChain(name)
            newest_first += reversed(found)
            _check_length(newest_first)
            name = found[0].previous_id if found else None
        return newest_first[::-1]

    async def delete(self, response_id: str, key_id: str | None) -> bool:
        """Delete a response of a key, wherever it is; return whether there was one."""
        if not await self.is_open(response_id, key_id) and await self.find(response_id, key_id) is None:
            return False
        # First, so that a recorder which has read it does not leave it there.
        await self._redis.set(removed_response_key(response_id), b"1", ex=REMOVED_S)
        await self._redis.delete(done_response_key(response_id))
        await self._store.delete(UUID(response_id), _uuid(key_id))
        return True

    async def is_open(self, response_id: str, key_id: str | None) -> bool:
        """Return whether a key has a response of the background of this id that has not ended, nor was deleted."""
        owner = await self._redis.hget(open_response_key(response_id), "owner")  # type: ignore[misc]  # redis-py: or awaitable
        if owner is None or owner.decode() != owner_of(key_id):
            return False
        return not await self._redis.exists(removed_response_key(response_id))

    async def items(self, names: Sequence[str], key_id: str | None) -> dict[str, dict[str, Any]]:
        """Return those items of a key's responses that have these ids."""
        found: dict[str, dict[str, Any]] = {}
        responses = dict.fromkeys(filter(None, map(response_of_item, names)))
        for name in responses:
            if (pending := await self._waiting(name, key_id)) is not None:
                _add(found, context_of([pending]))
        missing = [name for name in names if name not in found]
        rows = await self._store.having(missing, _uuid(key_id)) if missing else []
        for request, body in rows:
            _add(found, [*items_of(request), *output_of(body)])
        return {name: found[name] for name in names if name in found}

    async def conversation_items(self, conversation_id: str) -> list[tuple[str | None, dict[str, Any]]]:
        """Return the items of a conversation, in their order, each with the response that it is from."""
        waiting = await self._waiting_items(conversation_id)
        rows = await self.conversations.items(UUID(conversation_id))
        stored = {each.response_id for each in rows}
        rows += [each for each in waiting if each.response_id not in stored]

        def decoded() -> list[tuple[str | None, dict[str, Any]]]:
            return [
                (each.response_id.hex if each.response_id else None, msgspec.json.decode(each.item)) for each in rows
            ]

        return await work_beside(sum(len(each.item) for each in rows), decoded)

    async def items_page(
        self, conversation_id: str, after: str | None, limit: int, *, is_descending: bool
    ) -> tuple[list[ConversationItem], bool] | None:
        """Return so many items of a conversation after this one, and whether there are more.

        None where there is none of the id after which the page begins.
        """
        name = UUID(conversation_id)
        late = await self._late_items(conversation_id)
        ordered = late[::-1] if is_descending else late
        places = [number for number, each in enumerate(ordered) if each.id == after]
        if places:
            ordered = ordered[places[0] + 1 :]
        elif after is not None:
            if await self.conversations.item(name, after) is None:
                return None
            ordered = [] if is_descending else ordered
        # Those that wait for PostgreSQL are the newest.
        stored: list[ConversationItem] = []
        if is_descending and len(ordered) <= limit:
            beyond = None if places else after
            stored = await self.conversations.page(name, beyond, limit + 1 - len(ordered), is_descending=True)
            ordered = [*ordered, *stored]
        elif not is_descending and not places:
            stored = await self.conversations.page(name, after, limit + 1, is_descending=False)
            ordered = [*stored, *ordered]
        if not {each.id for each in stored}.isdisjoint(each.id for each in late):
            # A recorder stored them between the two looks.
            return await self.items_page(conversation_id, after, limit, is_descending=is_descending)
        return ordered[:limit], len(ordered) > limit

    async def item(self, conversation_id: str, item_id: str) -> ConversationItem | None:
        """Return an item of a conversation, None where it has none of this id."""
        found = await self.conversations.item(UUID(conversation_id), item_id)
        if found is not None:
            return found
        return next((each for each in await self._late_items(conversation_id) if each.id == item_id), None)

    async def _late_items(self, conversation_id: str) -> list[ConversationItem]:
        """Return the items of a conversation that are not in PostgreSQL yet."""
        waiting = await self._waiting_items(conversation_id)
        names = {each.response_id for each in waiting if each.response_id}
        stored = await self.conversations.having_items(UUID(conversation_id), list(names)) if names else set()
        return [each for each in waiting if each.response_id not in stored]

    async def _waiting_items(self, conversation_id: str) -> list[ConversationItem]:
        """Return the items of a conversation that wait for PostgreSQL, some of which may be there by now."""
        key = done_in_conversation_key(conversation_id)
        names: list[bytes] = await self._redis.lrange(key, 0, -1)  # type: ignore[misc]  # typed for both clients
        raws = await self._redis.mget([done_response_key(name.decode()) for name in names]) if names else []
        waiting = [raw for raw in raws if raw is not None]

        def items() -> list[ConversationItem]:
            rows = [to_row(_pending.decode(raw)) for raw in waiting]
            return [ConversationItem(row.id, *each) for row in rows for each in conversation_items(row)]

        return await work_beside(sum(map(len, waiting)), items)

    async def conversation(self, conversation_id: str, key_id: str | None) -> Conversation | None:
        """Return a conversation, None where the key has none of this id (hex digits)."""
        return await self.conversations.find(UUID(conversation_id), _uuid(key_id))

    async def context(self, chain: Sequence[StoredResponse]) -> list[dict[str, Any]]:
        """Return the items of responses that follow each other, after those that their conversation had before."""
        before = await self.before(chain[0])
        size = sum(len(each.input) + len(each.body) for each in chain)
        return [*before, *await work_beside(size, lambda: context_of(chain))]

    async def before(self, response: StoredResponse) -> list[dict[str, Any]]:
        """Return what a response's conversation had before it; nothing where it has none."""
        if response.conversation_id is None:
            return []
        before = []
        for response_id, item in await self.conversation_items(response.conversation_id.hex):
            if response_id == response.id.hex:
                break
            before.append(item)
        return before

    async def _waiting(self, response_id: str, key_id: str | None) -> StoredResponse | None:
        """Return a response of a key that is not in PostgreSQL yet."""
        raw = await self._redis.get(done_response_key(response_id))
        if raw is None:
            return None
        pending = await work_beside(len(raw), lambda: _pending.decode(raw))
        return to_row(pending) if pending.key_id == key_id else None


def _check_length(chain: Sequence[StoredResponse]) -> None:
    """Raise `LongChain` where there is too much of a chain."""
    if len(chain) > MOST_CHAIN or sum(len(each.input) + len(each.body) for each in chain) > MOST_CHAIN_BYTES:
        raise LongChain


def _add(found: dict[str, dict[str, Any]], items: Iterable[dict[str, Any]]) -> None:
    for item in items:
        if isinstance(item.get("id"), str):
            found.setdefault(item["id"], item)


def _uuid(key_id: str | None) -> UUID | None:
    return None if key_id is None else UUID(key_id)
