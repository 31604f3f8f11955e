"""Responses that have ended as rows, and what is in rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec

from shared.dialects.stored.items import ids_of, items_of, output_of
from shared.dialects.stored.pending import CONTINUED, status_of
from shared.postgres.responses.conversations import Item
from shared.postgres.responses.store import StoredResponse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.dialects.stored.pending import PendingResponse

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_encode: Final = msgspec.json.encode


def to_row(pending: PendingResponse) -> StoredResponse:
    """Return a response as a row.

    Raises:
        ValueError, OverflowError: an id is no UUID, or the time is out of range.
    """
    head = pending.head
    return StoredResponse(
        id=UUID(pending.id),
        key_id=UUID(pending.key_id) if pending.key_id else None,
        previous_id=UUID(head.previous_id) if head.previous_id else None,
        root_id=UUID(head.root_id),
        conversation_id=UUID(head.conversation_id) if head.conversation_id else None,
        input=bytes(pending.input).decode(),
        body=bytes(pending.body).decode(),
        created_at=_EPOCH + timedelta(milliseconds=pending.created_ms),
    )


def context_of(chain: Sequence[StoredResponse]) -> list[dict[str, Any]]:
    """Return the items of responses that follow each other: what each brought, and what it was answered."""
    return [item for each in chain for item in (*items_of(each.input), *output_of(each.body))]


def item_ids(response: StoredResponse) -> list[str]:
    """Return the ids of all items of a response."""
    return list(dict.fromkeys(ids_of(context_of([response]))))


def conversation_items(response: StoredResponse) -> list[Item]:
    """Return what a response adds to its conversation: nothing where it did not come to an end."""
    if response.conversation_id is None or status_of(response.body) not in CONTINUED:
        return []
    return [Item(item["id"], _encode(item).decode()) for item in context_of([response]) if "id" in item]
