"""The answer of a request that is stored as a response: what its closing leaves for PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shared.dialects.base import Storable
from shared.dialects.stored.unanswered import failed, kept_head, response_end
from shared.errors import StreamBroken
from shared.process.tasks import work_beside
from shared.redis.names import kept_response_key
from workers.attempts.periodic_writer import LIFE_S, PeriodicWriter

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from shared.dialects.stored.pending import ResponseEnd, StoredHead
    from shared.errors import GatewayError
    from shared.types import Event, Job

MOST_KEPT_BYTES: Final = 1024 * 1024
"""Longer answers are kept no further while they come: hardly one is, and all of it is written each time."""
_LOST: Final = StreamBroken(
    "The worker that answered was lost, and with it the rest of the answer.", code="worker_lost"
)


class StoredAnswer:
    """The answer of one attempt, which what makes the client's bytes of it knows.

    A stream's client knows its response from the first content on, so that is kept in Redis while it grows.

    Args:
        redis: where it is kept.
        job: the attempt.
        head: how it is stored.
    """

    def __init__(self, redis: Redis, job: Job, head: StoredHead) -> None:
        self._redis = redis
        self._job = job
        self._head = head
        self._key = kept_response_key(job.request_id)
        self._keeping = PeriodicWriter(self._keep) if job.stream else None
        self._has_kept_head = False
        self._reply: object = None

    def follow(self, reply: object) -> None:
        """Take note of what makes the client's bytes."""
        self._reply = reply

    def add(self, event: Event) -> None:  # noqa: ARG002 -- what makes the bytes has it
        """Take note that the model has said more."""
        if self._keeping is not None:
            self._keeping.note()

    def stop(self) -> None:
        """Keep no more of it."""
        if self._keeping is not None:
            self._keeping.stop()

    def end(self, error: GatewayError | None) -> ResponseEnd | None:
        """Return the response as it is stored; None where its client has never seen it.

        Args:
            error: how the request failed; None where it did not.
        """
        job, head = self._job, self._head
        body = self._body(error)
        if body is None:
            # Whoever asked in the background knows its response from the beginning.
            if error is None or not head.is_background:
                return None
            body = failed(job, job.model, error)
        return response_end(job, head, body, has_end_event=error is None)

    def _body(self, error: GatewayError | None) -> bytes | None:
        return self._reply.result(error) if isinstance(self._reply, Storable) else None

    async def _keep(self) -> None:
        """Keep the response as it would be stored should this process die now."""
        body = self._body(_LOST)
        if body is None or len(body) > MOST_KEPT_BYTES:
            return
        fields: dict[str, bytes] = {"b": body}
        if not self._has_kept_head:
            job, head = self._job, self._head
            fields["h"] = await work_beside(len(job.body), lambda: kept_head(job, head))
        # In one step: a hash without a lifetime would stay for good.
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hset(self._key, mapping=fields)
            pipeline.expire(self._key, LIFE_S)
            await pipeline.execute()
        self._has_kept_head = True
