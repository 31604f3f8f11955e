"""/v1/conversations and their items."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar
from uuid import UUID

import msgspec
from msgspec import Meta
from quart import Response, request

from api.admission.lookup_limits import charge_bytes, count_written_bytes
from api.endpoints.answer import authenticated_context
from api.endpoints.stored.arguments import (
    CONVERSATIONS,
    digits_of,
    includes_thoughts,
    looked_up,
    no_such_item,
    not_found,
    reading,
    requested_page,
)
from api.gateway import gateway
from api.http.body import json_response, read_body
from shared.dialects.responses.conversation import Conversation as Messages
from shared.dialects.responses.wire import converted
from shared.dialects.stored.items import listed
from shared.dialects.stored.thoughts import item_as_shown
from shared.errors import Conflict, InvalidRequest, NotFound
from shared.ids import new_request_id
from shared.openai.decoding import json_of
from shared.postgres.responses.conversations import MOST_ITEM_BYTES, MOST_ITEMS, Conversation, FullConversation, Item
from shared.process.tasks import work_beside

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.requests.context import RequestContext
    from shared.postgres.responses.conversations import ConversationItem, ConversationStore

_Kind = TypeVar("_Kind")

MOST_ADDED: Final = 20
"""Items that one request may add."""
# These bounds are OpenAI's.
_Metadata = dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]]
_Items = Annotated[list[dict[str, Any]], Meta(max_length=MOST_ADDED)]


class _Create(msgspec.Struct, forbid_unknown_fields=True):
    items: _Items | None = None
    metadata: Annotated[_Metadata, Meta(max_length=16)] | None = None


class _Update(msgspec.Struct, forbid_unknown_fields=True):
    metadata: Annotated[_Metadata, Meta(max_length=16)] | None


class _Add(msgspec.Struct, forbid_unknown_fields=True):
    items: _Items


async def create_conversation() -> Response:
    """Serve OpenAI's createConversation."""
    context = await authenticated_context(CONVERSATIONS)
    async with looked_up(context):
        requested = await _body(_Create, context)
        name = new_request_id()
        metadata = msgspec.json.encode(requested.metadata or {}).decode()
        items = _to_items(_checked(requested.items or []), name)
        try:
            await _store().create(UUID(name), _key(context.key_id), metadata, items)
        except FullConversation:
            raise _full() from None
        shown = await _found(name, context.key_id)
    return json_response(shown)


async def retrieve_conversation(conversation_id: str) -> Response:
    """Serve OpenAI's getConversation."""
    context = await authenticated_context(CONVERSATIONS)
    async with looked_up(context):
        shown = await _found(digits_of(conversation_id, "conv"), context.key_id)
    return json_response(shown)


async def update_conversation(conversation_id: str) -> Response:
    """Serve OpenAI's updateConversation: other metadata."""
    context = await authenticated_context(CONVERSATIONS)
    async with looked_up(context):
        name = UUID(digits_of(conversation_id, "conv"))
        metadata = (await _body(_Update, context)).metadata or {}
        found = await _store().update(name, _key(context.key_id), msgspec.json.encode(metadata).decode())
        if found is None:
            raise not_found(conversation_id, "conv")
    return json_response(_shown(found))


async def delete_conversation(conversation_id: str) -> Response:
    """Serve OpenAI's deleteConversation. Its responses stay."""
    context = await authenticated_context(CONVERSATIONS)
    async with looked_up(context):
        if not await _store().delete(UUID(digits_of(conversation_id, "conv")), _key(context.key_id)):
            raise not_found(conversation_id, "conv")
    return json_response({"id": conversation_id, "object": "conversation.deleted", "deleted": True})


async def list_conversation_items(conversation_id: str) -> Response:
    """Serve OpenAI's listConversationItems."""
    context = await authenticated_context(CONVERSATIONS)
    async with looked_up(context):
        page, digits = requested_page(), digits_of(conversation_id, "conv")
        await _found(digits, context.key_id)
        async with reading(context) as read:
            found = await gateway().responses.stored.items_page(
                digits, page.after, page.limit, is_descending=page.is_descending
            )
            if found is None:
                raise no_such_item(page)
            items, has_more = found
            size = sum(len(each.item) for each in items)
            await read(size)
            listing = partial(_list_of, items, has_more=has_more, has_thoughts=page.has_thoughts)
            shown = await work_beside(size, listing)
    return json_response(shown)


async def add_conversation_items(conversation_id: str) -> Response:
    """Serve OpenAI's createConversationItems."""
    context = await authenticated_context(CONVERSATIONS)
    async with looked_up(context):
        name = digits_of(conversation_id, "conv")
        # Of a batch of its own, so that their ids are no earlier ones.
        items = _to_items(_checked((await _body(_Add, context)).items), new_request_id())
        try:
            is_there = await _store().add(UUID(name), _key(context.key_id), items)
        except FullConversation:
            raise _full() from None
        if not is_there:
            raise not_found(conversation_id, "conv")
    shown = await work_beside(sum(len(each.item) for each in items), partial(_list_of, items, has_more=False))
    return json_response(shown)


async def retrieve_conversation_item(conversation_id: str, item_id: str) -> Response:
    """Serve OpenAI's getConversationItem."""
    context = await authenticated_context(CONVERSATIONS)
    async with looked_up(context):
        found = await _item_of(conversation_id, context.key_id, item_id)
        if found is None:
            raise _no_item(item_id)
        shown = item_as_shown(found.item.encode(), has_thoughts=includes_thoughts())
    return Response(shown, content_type="application/json")


async def delete_conversation_item(conversation_id: str, item_id: str) -> Response:
    """Serve OpenAI's deleteConversationItem; return the conversation."""
    context = await authenticated_context(CONVERSATIONS)
    async with looked_up(context):
        name = UUID(digits_of(conversation_id, "conv"))
        found, was_there = await _store().delete_item(name, _key(context.key_id), item_id)
        if found is None:
            raise not_found(conversation_id, "conv")
        if not was_there:
            # Of a response that has just ended it is on its way.
            is_late = await _item_of(conversation_id, context.key_id, item_id) is not None
            raise _on_its_way() if is_late else _no_item(item_id)
    return json_response(_shown(found))


def _store() -> ConversationStore:
    return gateway().responses.stored.conversations


async def _found(digits: str, key_id: str | None) -> dict[str, Any]:
    found = await _store().find(UUID(digits), _key(key_id))
    if found is None:
        raise not_found("conv_" + digits, "conv")
    return _shown(found)


async def _item_of(conversation_id: str, key_id: str | None, item_id: str) -> ConversationItem | None:
    digits = digits_of(conversation_id, "conv")
    await _found(digits, key_id)
    return await gateway().responses.stored.item(digits, item_id)


def _list_of(items: Sequence[Item | ConversationItem], *, has_more: bool, has_thoughts: bool = True) -> dict[str, Any]:
    data = [msgspec.Raw(item_as_shown(each.item.encode(), has_thoughts=has_thoughts)) for each in items]
    ids = {"first_id": items[0].id if items else None, "last_id": items[-1].id if items else None}
    return {"object": "list", "data": data, **ids, "has_more": has_more}


def _shown(found: Conversation) -> dict[str, Any]:
    return {
        "id": f"conv_{found.id.hex}",
        "object": "conversation",
        "created_at": int(found.created_at.timestamp()),
        "metadata": msgspec.Raw(found.metadata.encode()),
    }


async def _body(kind: type[_Kind], context: RequestContext) -> _Kind:
    raw = await read_body(request) or b"{}"
    if context.key_id is not None:  # the operator's own token has no limits
        await count_written_bytes(gateway().redis, context.key_id, len(raw), gateway().settings.max_conversations_mib)
        await charge_bytes(gateway().redis, context.key_id, len(raw))
    return await work_beside(len(raw), lambda: converted(json_of(raw), kind, ""))


def _checked(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return items as they are, once they are known to be some.

    Raises:
        InvalidRequest: one is none; `param` names it.
    """
    try:
        Messages().add_items(items)
    except InvalidRequest as error:
        # They were checked as a request's input, which is called so.
        error.message = error.message.replace("input[", "items[")
        error.param = error.param and error.param.replace("input[", "items[")
        raise
    return items


def _to_items(items: Sequence[dict[str, Any]], owner: str) -> list[Item]:
    return [Item(item["id"], msgspec.json.encode(item).decode()) for item in listed(list(items), owner)]


def _key(key_id: str | None) -> UUID | None:
    return None if key_id is None else UUID(key_id)


def _no_item(item_id: str) -> NotFound:
    return NotFound(f"Item with id '{item_id[:100]}' not found.", param="item_id")


def _on_its_way() -> Conflict:
    return Conflict("This item is being stored. Try again.", param="item_id", retry_after_s=1)


def _full() -> InvalidRequest:
    text = f"A conversation has at most {MOST_ITEMS} items, and {MOST_ITEM_BYTES // 2**20} MiB of them."
    return InvalidRequest(text, param="items", code="conversation_full")
