"""The parts of an api process that know stored responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from api.admission.read_limiter import ReadLimiter
from api.prompt.responses.locks import ConversationLocks
from api.prompt.responses.preparation import Preparation
from api.prompt.responses.stored import StoredResponses

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from redis.asyncio import Redis

    from shared.postgres.database import Database
    from shared.settings import Settings


class ResponseState:
    """Stored responses as requests of this process use them.

    Args:
        settings: whether there are any, and how long requests live.
        redis: has what is not in PostgreSQL yet.
        database: has all else.
        spawn: does something beside the requests.
    """

    def __init__(
        self,
        settings: Settings,
        redis: Redis,
        database: Database,
        spawn: Callable[[Coroutine[Any, Any, None], str], object],
    ) -> None:
        self.stored = StoredResponses(redis, database)
        self.reads = ReadLimiter()
        locks = ConversationLocks(redis, settings.queue_timeout_s + settings.total_timeout_s, spawn)
        self.preparation = Preparation(settings, self.stored, locks)
