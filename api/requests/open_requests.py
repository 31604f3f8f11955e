"""The requests that this process has open: what others ask of one by the news channel, and what is told of it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import msgspec

from shared.queue.story import StoryEvent
from shared.redis.client import UNREACHABLE
from shared.redis.names import place_of_queue, reply_key

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from redis.asyncio import Redis

    from api.relay.incoming import IncomingStream
    from shared.errors import GatewayError
    from shared.types import JobDraft, Target

_log = logging.getLogger(__name__)
ANSWER_LIFE_S: Final = 10


class RequestState(msgspec.Struct, frozen=True, kw_only=True):
    """An open request as its api process knows it.

    `state` is `waiting` in the queue of `backend`, `running` there before its first content, or `answering`; `tokens`
    have been sent to the client. Times are milliseconds since 1970.
    """

    request_id: str
    attempt: int
    state: Literal["waiting", "running", "answering"]
    backend: str
    tier: str
    model: str
    tokens: int
    admitted_ms: int
    story: tuple[StoryEvent, ...]


class OpenRequest(Protocol):
    """A request of this process that has not ended."""

    def cancel(self, by: str) -> None:
        """End it, and tell its client so."""
        ...

    def look_elsewhere(self, queue: str) -> None:
        """Look for another place if it waits in a queue."""
        ...

    def described(self) -> RequestState:
        """Return where it is now."""
        ...


def place_of(target: Target) -> str:
    """Return where an attempt went, for people: the backend and the model there."""
    return f"{place_of_queue(target.queue)} ({target.model})"


def failure_of(target: Target, error: GatewayError) -> str:
    """Return how an attempt failed, for the operator: where, and with what."""
    return f"{place_of(target)}: {error.code or error.type}{f': {error.reason}' if error.reason else ''}"


def state_of(draft: JobDraft, stream: IncomingStream, *, has_worker: bool) -> RequestState:
    """Return where a request is whose present attempt is `draft`, and what has arrived of it `stream`."""
    return RequestState(
        request_id=draft.request_id,
        attempt=draft.attempt,
        state="answering" if stream.committed else "running" if has_worker else "waiting",
        backend=place_of_queue(stream.target.queue),
        tier=stream.target.tier,
        model=stream.target.model,
        tokens=stream.tokens,
        admitted_ms=draft.admitted_ms,
        story=draft.story,
    )


class OpenRequests(dict[str, OpenRequest]):
    """By id. What is asked about a request of another process is that one's matter.

    Args:
        redis: where answers go.
        spawn: does something beside the requests.
    """

    def __init__(self, redis: Redis, spawn: Callable[[Coroutine[Any, Any, None], str], None]) -> None:
        super().__init__()
        self._redis = redis
        self._spawn = spawn

    def handle_cancel(self, subject: str) -> None:
        """Cancel a request: `subject` is its id, a space, and who wants that."""
        request_id, _, by = subject.partition(" ")
        if (found := self.get(request_id)) is not None:
            found.cancel(by)

    def handle_describe(self, subject: str) -> None:
        """Answer where a request is: `subject` is its id, a space, and the name of the answer."""
        request_id, _, answer = subject.partition(" ")
        if (found := self.get(request_id)) is not None:
            self._spawn(self._answer(answer, found.described()), f"describe {request_id}")

    def look_elsewhere(self, queue: str) -> None:
        """Let what waits in a queue look for another place."""
        for found in list(self.values()):
            found.look_elsewhere(queue)

    async def _answer(self, name: str, state: RequestState) -> None:
        key = reply_key(name)
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.lpush(key, msgspec.json.encode(state))
        pipeline.expire(key, ANSWER_LIFE_S)
        try:
            await pipeline.execute()
        except UNREACHABLE as error:
            _log.warning("Redis does not answer (%s): nobody is told of a request", type(error).__name__)
