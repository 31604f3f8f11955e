"""Locks on conversations: one request at a time, over all api processes.

A request that was admitted has it for as long as it is open, whoever closes it; another one is told to come back.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from api.admission.admit import ADMIT_TIMEOUT_S
from shared.errors import Conflict
from shared.redis import scripts
from shared.redis.client import UNREACHABLE
from shared.redis.names import conversation_lock_key

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from redis.asyncio import Redis

ON_ITS_WAY_S: Final = 5.0
"""Time that a request may take from here to its admission."""
BUSY_RETRY_S: Final = 2.0


class ConversationLocks:
    """The conversations that requests of this process have.

    Args:
        redis: where the locks are.
        life_s: how long a request may live.
        spawn: does something beside the requests.
    """

    def __init__(self, redis: Redis, life_s: float, spawn: Callable[[Coroutine[Any, Any, None], str], object]) -> None:
        self._redis = redis
        self._life_ms = int(1000 * (life_s + ON_ITS_WAY_S))
        self._spawn = spawn

    async def take(self, conversation_id: str, api_id: str, request_id: str) -> None:
        """Take a conversation.

        Args:
            conversation_id: hex digits.
            api_id: under whose name the request will be open, in hex digits.
            request_id: who takes it.

        Raises:
            Conflict: another request has it.
            RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
        """
        arguments = (api_id, request_id, self._life_ms, int(1000 * ON_ITS_WAY_S))
        async with asyncio.timeout(ADMIT_TIMEOUT_S):
            keys = [conversation_lock_key(conversation_id)]
            is_taken = await scripts.run(self._redis, scripts.CONVERSATION_TAKE, keys, *arguments)
        if not is_taken:
            raise Conflict(
                "Another request of this conversation has not ended yet. Try again in a few seconds.",
                param="conversation",
                code="conversation_locked",
                retry_after_s=BUSY_RETRY_S,
            )

    def give_back(self, conversation_id: str, request_id: str) -> None:
        """Give back what a request that was not admitted may have taken."""
        self._spawn(self._free(conversation_id, request_id), f"give back conversation of {request_id}")

    async def _free(self, conversation_id: str, request_id: str) -> None:
        # Without an admitted request the lock ends by itself, `ON_ITS_WAY_S` later.
        with suppress(*UNREACHABLE):
            keys = [conversation_lock_key(conversation_id)]
            await scripts.run(self._redis, scripts.CONVERSATION_FREE, keys, conversation_id, request_id)
