"""The answer of a request that is stored as a response: what its closing leaves for PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.dialects.base import Storable
from shared.dialects.stored.unanswered import failed, response_end

if TYPE_CHECKING:
    from shared.dialects.stored.pending import ResponseEnd, StoredHead
    from shared.errors import GatewayError
    from shared.types import Event, Job


class StoredAnswer:
    """The answer of one attempt, which what makes the client's bytes of it knows.

    Args:
        job: the attempt.
        head: how it is stored.
    """

    def __init__(self, job: Job, head: StoredHead) -> None:
        self._job = job
        self._head = head
        self._reply: object = None

    def follow(self, reply: object) -> None:
        """Take note of what makes the client's bytes."""
        self._reply = reply

    def add(self, event: Event) -> None:
        """Do nothing: that keeps what the model says itself."""

    def end(self, error: GatewayError | None) -> ResponseEnd | None:
        """Return the response as it is stored; None where its client has never seen that there is one.

        Args:
            error: how the request failed; None where it did not.
        """
        job, head = self._job, self._head
        body = self._reply.result(error) if isinstance(self._reply, Storable) else None
        if body is None:
            if error is None or not head.is_background:
                return None
            body = failed(job, job.model, error)
        return response_end(job, head, body, has_said_so=error is None)
