"""The requests that this process has open: what others ask of one by the news channel, and what is told of it."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol

import msgspec

from shared.errors import Draining
from shared.ids import job_id
from shared.process.tasks import Pauses, end_all, spawn_critical
from shared.queue.story import TAKEN_OVER, StoryEvent
from shared.redis.client import UNREACHABLE
from shared.redis.names import place_of_queue, queue_of_place, reply_key
from shared.relay import CancelReason

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from redis.asyncio import Redis

    from api.relay.incoming import IncomingStream
    from api.requests.cancellation import Outcome
    from api.routing.load import Load
    from shared.errors import GatewayError
    from shared.types import JobDraft, Target

_log = logging.getLogger(__name__)
ANSWER_LIFE_S: Final = 10
TAKEN_OUT_S: Final = 0.5
"""Time that jobs may take to leave their queues where a process ends."""
PLACES_S: Final = 1.0
"""Shortest interval at which a waiting stream gets its place."""
_STEP: Final = 200
"""Of how many streams places are asked for at a time: what waits may be thousands, and the event loop must go on."""


State = Literal["waiting", "running", "answering", "cancelling"]


class RequestState(msgspec.Struct, frozen=True, kw_only=True):
    """An open request as its api process knows it.

    `state` is `waiting` in the queue of `backend`, `running` there before its first content, `answering`, or
    `cancelling` until its worker has stopped; `tokens` have been sent to the client. Times are milliseconds since 1970.
    """

    request_id: str
    attempt: int
    state: State
    backend: str
    tier: str
    model: str
    tokens: int
    stream: bool
    admitted_ms: int
    story: tuple[StoryEvent, ...]


class QueuePlace(NamedTuple):
    """A request's place in its queue, and the expected seconds until its turn, where known."""

    position: int
    eta_s: int | None


class OpenRequest(Protocol):
    """A request of this process that has not ended."""

    def cancel(self, by: CancelReason, report: Callable[[Outcome], None]) -> None:
        """End it, and tell its client so; `report` is called once it is known what became of it."""
        ...

    def abort(self, error: GatewayError, reason: CancelReason) -> asyncio.Task[None] | None:
        """End it with an error and stop its attempt; return what takes that out of its queue, or tells its worker."""
        ...

    def look_elsewhere(self, queue: str) -> None:
        """Look for another place if it waits in a queue."""
        ...

    def described(self) -> RequestState:
        """Return where it is now."""
        ...

    def take_place(self, place: QueuePlace | None) -> None:
        """Take note of its place in the queue; None where it does not wait."""
        ...


def place_of(target: Target) -> str:
    """Return where an attempt went, for people: the backend and the model there."""
    return f"{place_of_queue(target.queue)} ({target.model})"


def failure_of(target: Target, error: GatewayError) -> str:
    """Return how an attempt failed, for the operator: where, and with what."""
    return f"{place_of(target)}: {error.code or error.type}{f': {error.reason}' if error.reason else ''}"


def with_take_over(draft: JobDraft, stream: IncomingStream) -> JobDraft:
    """Return the draft of an attempt with who has taken it over while it waited, where somebody has."""
    if stream.taken_over_ms is None:
        return draft
    return draft.noted(TAKEN_OVER, f"by {place_of(stream.target)}", stream.taken_over_ms)


def state_of(draft: JobDraft, stream: IncomingStream, *, has_worker: bool, is_cancelled: bool) -> RequestState:
    """Return where a request is whose present attempt is `draft`, and what has arrived of it `stream`."""
    state: State = "answering" if stream.committed else "running" if has_worker else "waiting"
    return RequestState(
        request_id=draft.request_id,
        attempt=draft.attempt,
        state="cancelling" if is_cancelled else state,
        backend=place_of_queue(stream.target.queue),
        tier=stream.target.tier,
        model=stream.target.model,
        tokens=stream.tokens,
        stream=draft.stream,
        admitted_ms=draft.admitted_ms,
        story=with_take_over(draft, stream).story,
    )


class OpenRequests(dict[str, OpenRequest]):
    """By id. What is asked about a request of another process is that one's matter.

    Args:
        redis: where answers go.
        spawn: does something beside the requests.
        load_of: tells what the live workers of a queue can do.
    """

    def __init__(
        self,
        redis: Redis,
        spawn: Callable[[Coroutine[Any, Any, None], str], object],
        load_of: Callable[[str], Load | None],
    ) -> None:
        super().__init__()
        self._redis = redis
        self._spawn = spawn
        self._load_of = load_of
        self._places: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to tell waiting streams their places in the queue."""
        self._places = spawn_critical(self._follow_places(), name="places")

    async def stop(self) -> None:
        """End that; the requests themselves end elsewhere."""
        await end_all(self._places)

    def handle_cancel(self, subject: str) -> None:
        """Cancel a request: `subject` is its id, who wants that (a `CancelReason`), and the name of the answer."""
        request_id, by, answer = subject.split(" ")

        def report(outcome: Outcome) -> None:
            self._spawn(self._answer(answer, outcome), f"cancelled {request_id}")

        if (found := self.get(request_id)) is not None:
            found.cancel(CancelReason(int(by)), report)

    async def abort_all(self) -> None:
        """End every request: this process drains, and its time is up."""
        # Those that wait are out of their queues first: none is to get the slot of one that runs, and be stopped there.
        waiting = [self._abort(found) for found in list(self.values()) if found.described().state == "waiting"]
        if taken_out := [task for task in waiting if task is not None]:
            await asyncio.wait(taken_out, timeout=TAKEN_OUT_S)
        for found in list(self.values()):
            self._abort(found)

    def _abort(self, found: OpenRequest) -> asyncio.Task[None] | None:
        return found.abort(Draining("This gateway process is shutting down.", retry_after_s=1), CancelReason.DRAINING)

    def handle_describe(self, subject: str) -> None:
        """Answer where a request is: `subject` is its id, a space, and the name of the answer."""
        request_id, _, answer = subject.partition(" ")
        if (found := self.get(request_id)) is not None:
            self._spawn(self._answer(answer, found.described()), f"describe {request_id}")

    def look_elsewhere(self, queue: str) -> None:
        """Let what waits in a queue look for another place."""
        for found in list(self.values()):
            found.look_elsewhere(queue)

    async def _follow_places(self) -> None:
        """Send each waiting stream its place in the queue, once a second, for good."""
        while True:
            await asyncio.sleep(PLACES_S)
            try:
                await self._update_places()
            except UNREACHABLE:
                continue  # the relay says so

    async def _update_places(self) -> None:
        latest_ms = time.time() * 1000 - PLACES_S * 1000
        waiting, pause = [], Pauses()
        for found in list(self.values()):
            await pause()  # there may be thousands
            state = found.described()
            if state.state != "waiting":
                found.take_place(None)
            elif state.stream and state.admitted_ms < latest_ms:
                waiting.append((found, state.backend, job_id(state.request_id, state.attempt)))
        for begin in range(0, len(waiting), _STEP):
            await self._update(waiting[begin : begin + _STEP])
            await asyncio.sleep(0)

    async def _update(self, waiting: Sequence[tuple[OpenRequest, str, str]]) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for _, backend, job in waiting:
            pipeline.zrank(queue_of_place(backend), job)
        for (found, backend, _), rank in zip(waiting, await pipeline.execute(), strict=True):
            found.take_place(None if rank is None else QueuePlace(rank + 1, self.eta_s(backend, rank + 1)))

    def eta_s(self, backend: str, position: int) -> int | None:
        """Return after about how many seconds a request has its turn that waits at this place; None: not known."""
        load = self._load_of(queue_of_place(backend))
        return round(position * load.service_ms / load.slots / 1000) if load is not None and load.slots else None

    async def _answer(self, name: str, answer: RequestState | Outcome) -> None:
        key = reply_key(name)
        pipeline = self._redis.pipeline(transaction=False)
        # A list keeps the answer until it is read, which pub/sub would not.
        pipeline.lpush(key, msgspec.json.encode(answer))
        pipeline.expire(key, ANSWER_LIFE_S)
        try:
            await pipeline.execute()
        except UNREACHABLE as error:
            _log.warning("Redis does not answer (%s): nobody is told of a request", type(error).__name__)
