"""Keeps Gemini's thought signatures between the turns of a conversation, by tool-call id.

Gemini 3 refuses a function call that comes back without the signature it was made with (ai.google.dev, "Thought
signatures"), and OpenAI's clients know no place for it. A signature is opaque and only good for the model that made it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Protocol

from shared.redis.client import UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis.asyncio import Redis

_log = logging.getLogger(__name__)

TTL_S: Final = 24 * 3600
MAX_ID_CHARS: Final = 256
MAX_SIGNATURE_CHARS: Final = 256 * 1024


class Signatures(Protocol):
    """A store of signatures. It never fails a request: what cannot be kept or found is left out."""

    async def get_many(self, model: str, call_ids: Sequence[str]) -> Mapping[str, str]:
        """The signatures that `model` gave to these calls, as far as they are known."""
        ...

    async def put_many(self, model: str, signatures: Mapping[str, str]) -> None:
        """Keep the signatures that `model` gave, by call id."""
        ...


class MemorySignatures:
    """Signatures of one process, for tests and for a gateway without Redis. The oldest go first.

    Args:
        capacity: how many are kept.
    """

    def __init__(self, capacity: int = 10_000) -> None:
        self._capacity = capacity
        self._kept: dict[tuple[str, str], str] = {}

    async def get_many(self, model: str, call_ids: Sequence[str]) -> Mapping[str, str]:
        """See `Signatures.get_many`."""
        return {call_id: self._kept[model, call_id] for call_id in call_ids if (model, call_id) in self._kept}

    async def put_many(self, model: str, signatures: Mapping[str, str]) -> None:
        """See `Signatures.put_many`."""
        self._kept |= {(model, call_id): signature for call_id, signature in signatures.items()}
        while len(self._kept) > self._capacity:
            del self._kept[next(iter(self._kept))]


class RedisSignatures:
    """Signatures that every worker shares: `claw:signature:<call id>`, each the model's name, LF, the signature.

    While Redis does not answer, nothing is kept or found, and a warning is logged.

    Args:
        redis: a client whose replies are bytes.
        ttl_s: how long a signature is kept, in seconds.
    """

    def __init__(self, redis: Redis, ttl_s: int = TTL_S) -> None:
        self._redis = redis
        self._ttl_s = ttl_s

    async def get_many(self, model: str, call_ids: Sequence[str]) -> Mapping[str, str]:
        """See `Signatures.get_many`."""
        wanted = [call_id for call_id in call_ids if len(call_id) <= MAX_ID_CHARS]
        if not wanted:
            return {}
        try:
            values = await self._redis.mget([_key(call_id) for call_id in wanted])
        except UNREACHABLE as error:
            _log.warning("thought signatures cannot be read: %s", type(error).__name__)
            return {}
        prefix = f"{model}\n".encode()
        return {
            call_id: value[len(prefix) :].decode()
            for call_id, value in zip(wanted, values, strict=True)
            if value is not None and value.startswith(prefix)
        }

    async def put_many(self, model: str, signatures: Mapping[str, str]) -> None:
        """See `Signatures.put_many`."""
        kept = {
            call_id: signature
            for call_id, signature in signatures.items()
            if len(call_id) <= MAX_ID_CHARS and len(signature) <= MAX_SIGNATURE_CHARS
        }
        if not kept:
            return
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for call_id, signature in kept.items():
                    pipeline.set(_key(call_id), f"{model}\n{signature}", ex=self._ttl_s)
                await pipeline.execute()
        except UNREACHABLE as error:
            _log.warning("thought signatures cannot be kept: %s", type(error).__name__)


def _key(call_id: str) -> str:
    return f"claw:signature:{call_id}"
