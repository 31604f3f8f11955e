"""A turn on its way into the database: what its request brought, and what it ended with."""

from __future__ import annotations

import msgspec

from shared.openai.sessions.turn_end import TurnState
from shared.usage import UsageRecord


class TurnHead(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a request brings to its session, as the api process leaves it in Redis.

    Args:
        key_id: whose session it is.
        begins: whether the session may be made by it.
        is_admin_mode: whether the request was told the snapshot of the installation.
        after: the stored message that the new ones follow, as its request's id and its place in that request, where
            what came after it is superseded.
        messages: the client's new ones, each as its JSON.
        digests: of each, in hex digits: of what the client sent, also where less of it is kept.
    """

    key_id: str | None = None
    begins: bool = False
    is_admin_mode: bool = False
    after: tuple[str, int] | None = None
    messages: tuple[msgspec.Raw, ...] = ()
    digests: tuple[str, ...] = ()


class PendingTurn(msgspec.Struct, frozen=True, kw_only=True):
    """A turn that ended, as the closing script leaves it in Redis; `answer` is an assistant's message."""

    head: TurnHead
    answer: msgspec.Raw
    state: TurnState
    record: UsageRecord
