"""A response on its way into the database: what is known of it before it is answered, and what it came to. Pure."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Status = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]
CONTINUED: Final = frozenset({"completed", "incomplete"})
"""Statuses of a response that another one may continue, and whose items become part of its conversation."""


class StoredHead(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The head of a request that will be stored as a response. Ids are hex digits.

    Args:
        previous_id: the response that it continues.
        root_id: the first one of that chain; its own where it continues none.
        conversation_id: the conversation that it belongs to.
        earlier_items: how many of its input's items are from there, before its own.
        is_background: whether no client waits for it.
        events_before: how many events its stream has before those of its worker: that it is there, and queued.
    """

    previous_id: str = ""
    root_id: str
    conversation_id: str = ""
    earlier_items: int = 0
    is_background: bool = False
    events_before: int = 0


class PendingResponse(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A response that has ended, as the closing script leaves it in Redis.

    Args:
        id: hex digits.
        key_id: whose it is.
        head: how it is stored.
        created_ms: when it was admitted, in milliseconds since 1970.
        input: what its request brought, as a JSON list of items.
        body: the response object, as JSON. It is the last field: scripts put it there.
    """

    id: str
    key_id: str | None = None
    head: StoredHead
    created_ms: int
    input: msgspec.Raw
    body: msgspec.Raw


class _Status(msgspec.Struct):
    status: str = ""


_status: Final = msgspec.json.Decoder(_Status)


def status_of(body: str | bytes | msgspec.Raw) -> str:
    """Return the status of a response object."""
    return _status.decode(body).status


class ResponseEnd(msgspec.Struct, frozen=True):
    """The parts of a response that its closing leaves.

    Args:
        pending: a `PendingResponse` as JSON; nothing where what its worker has kept of it counts.
        conversation_id: hex digits, or nothing.
        last_event: the end of its stream where that has not said it, numbered -1.
    """

    pending: bytes = b""
    conversation_id: str = ""
    last_event: bytes = b""

    @property
    def arguments(self) -> tuple[bytes, str, bytes]:
        """Return it as `response.lua` takes it."""
        return self.pending, self.conversation_id, self.last_event
