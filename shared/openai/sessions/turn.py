"""A turn on its way into the database: what its request brought, and what it ended with."""

from __future__ import annotations

from typing import Final

import msgspec

from shared.openai.sessions.turn_end import THOUGHTS, TurnState
from shared.usage import UsageRecord

_FIELD: Final = b'"%s"' % THOUGHTS.encode()


class TurnHead(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The part of a turn that a request brings, as the api process leaves it in Redis.

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

    @property
    def message(self) -> msgspec.Raw:
        """Return the answer without what its model thought, as later requests have it."""
        return parted(self.answer)[0]


def parted(answer: bytes | msgspec.Raw) -> tuple[msgspec.Raw, str]:
    """Return an assistant's message without what its model thought, and that.

    Raises:
        MsgspecError: it is no JSON.
    """
    raw = msgspec.Raw(bytes(answer))
    if _FIELD not in bytes(answer):
        return raw, ""
    message = msgspec.json.decode(raw)
    thoughts = message.pop(THOUGHTS, "")
    return msgspec.Raw(msgspec.json.encode(message)), thoughts
