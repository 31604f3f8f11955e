"""The key of the chat: built in, without a secret, with limits as others have. It is made where it is first needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import UUID

import msgspec

from api.admission.auth import principal_of
from api.endpoints.keys.admins import is_bounded
from api.gateway import gateway
from api.ui.state import visit
from shared.errors import ModelNotAllowed, Unauthenticated
from shared.postgres.keys import CHAT_KEY_HASH
from shared.postgres.ui.chat import ChatStore

if TYPE_CHECKING:
    from api.admission.auth import Principal

PURPOSE: Final = "chat"


async def chat_principal() -> Principal:
    """Return who asks in the chat: the key `web-ui`, within its bounds.

    Raises:
        Unauthenticated: it has expired.
        ModelNotAllowed: the session is of a key with bounds of its own, which the chat's key would be a way around.
        Overloaded: PostgreSQL is down and the key is not cached.
    """
    parts = gateway()
    key_id = visit().session.key_id
    own = None if key_id is None else await parts.keys.find(key_id)
    if own is not None and is_bounded(principal_of(own)):
        raise ModelNotAllowed(
            f"The key {own.name}, with which you signed in, has bounds of its own, and the chat runs under another. "
            "Sign in with the password or with a key without bounds.",
            code="bounded_key",
        )
    try:
        found = await parts.authenticator.holder_of(CHAT_KEY_HASH)
    except Unauthenticated as error:
        if error.code == "key_expired":
            raise Unauthenticated(
                "The key web-ui, under which this chat runs, has expired. Give it another expiry under Keys.",
                code="key_expired",
            ) from None
        await ChatStore(parts.database).make_key()
        found = await parts.authenticator.holder_of(CHAT_KEY_HASH)
    return msgspec.structs.replace(found, purpose=PURPOSE)


async def chat_key_id() -> UUID:
    """Return the id of the key, which is there from now on, expired or not."""
    parts = gateway()
    key = await parts.keys.find_by_hash(CHAT_KEY_HASH)
    if key is None:
        await ChatStore(parts.database).make_key()
        key = await parts.keys.find_by_hash(CHAT_KEY_HASH)
    assert key is not None  # noqa: S101 -- just made, and it cannot be revoked
    return UUID(key.id)
