"""Secrets of new keys, the same again for a call that is repeated within seconds.

Some clients send each call twice, and a reply may get lost. The second call must make no second key, and its reply
must show a secret that works, though none is stored anywhere. So a secret is the HMAC, by the internal secret, of a
random nonce, and the nonce alone is kept in Redis for a moment, under a digest of the call: any api process makes the
same secret of it, and nobody who reads Redis can.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING, Final

from shared.postgres.keys import KEY_START, new_secret
from shared.redis.client import UNREACHABLE
from shared.redis.names import nonce_key

if TYPE_CHECKING:
    from redis.asyncio import Redis

REPEATED_S: Final = 10
"""For how long a call with the same name and body is the same call."""
_NONCE_BYTES: Final = 32
# Other keys are made of the same secret, as that of the web UI's cookies: none may come out twice.
_PURPOSE: Final = b"secret of a gateway key\0"


async def secret_for_call(redis: Redis, internal_secret: str, call: bytes, *, is_spent: bool = False) -> str:
    """Return the secret that a call makes. While Redis is away it is another one each time.

    Args:
        redis: keeps the nonce.
        internal_secret: the server's.
        call: who calls what with which body.
        is_spent: whether the last secret of such a call is of no use any more: then a new one is made.
    """
    name, nonce = nonce_key(hashlib.sha256(call).hexdigest()), secrets.token_bytes(_NONCE_BYTES)
    pipeline = redis.pipeline(transaction=True)
    pipeline.set(name, nonce, ex=REPEATED_S, nx=not is_spent)
    pipeline.get(name)
    try:
        _, kept = await pipeline.execute()
    except UNREACHABLE:
        return new_secret()
    return KEY_START + hmac.digest(internal_secret.encode(), _PURPOSE + (kept or nonce), "sha256").hex()
