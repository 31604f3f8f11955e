"""Leases on sessions: one request at a time, over all api processes, by a lease in Redis.

The closing script gives it back with the turn; for a request that was not admitted its api process does. A lease ends
by itself where its process died.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import ResponseError

from api.admission.admit import ADMIT_TIMEOUT_S, QueueFaulty, QueueUnavailable
from api.prompt.headers import SESSION_HEADER
from shared.errors import Conflict, NotFound, Overloaded
from shared.redis import scripts
from shared.redis.client import UNREACHABLE
from shared.redis.names import awaited_key, lease_key, turn_key, turns_key

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from redis.asyncio import Redis

LEASE_S: Final = 15.0
RENEW_S: Final = 5.0
LOOK_AGAIN_S: Final = 5.0
"""After how long who waits looks again by himself: the news that a session is free may be lost."""
AFTER_END_S: Final = 60.0
"""For how long a session stays its request's that has ended here: its worker may have to say how."""
MOST_WAITING: Final = 16
"""Requests of one key that wait in one process for sessions: they hold their bodies meanwhile."""
BUSY_RETRY_S: Final = 2.0
BRIEF_BYTES: Final = 64 * 1024
"""Of turns that come along with a session: more have a connection of their own, and more time."""
TURNS_TIMEOUT_S: Final = 8.0
"""For them, once the session is taken: less than that lasts."""
MOST_WAITING_BYTES: Final = 16 * 1024 * 1024
"""Of a session's turns that PostgreSQL does not have. A recorder stores them at once: with more, none is there."""
BEHIND_RETRY_S: Final = 5.0


class Leases:
    """The sessions that requests of this process have or wait for.

    Args:
        redis: where the leases are.
        spawn: does something beside the requests.
    """

    def __init__(self, redis: Redis, spawn: Callable[[Coroutine[Any, Any, None], str], object]) -> None:
        self._redis = redis
        self._spawn = spawn
        self._held: dict[str, _Held] = {}
        self._waiting: Counter[str] = Counter()
        self._events: dict[str, set[asyncio.Event]] = {}
        self._is_renewing = False

    async def take(self, owner: str, session_id: str, request_id: str, wait_s: float) -> list[bytes]:
        """Take a session, waiting for the request that has it; return its turns that are not in PostgreSQL yet.

        Args:
            owner: whose session it must be.
            session_id: its id.
            request_id: who takes it.
            wait_s: for how long that waits, in seconds.

        Raises:
            NotFound: another owner's request has it.
            Conflict: it is busy all the time, or too many requests of this owner wait already.
            QueueUnavailable: Redis does not answer.
            Overloaded: too much of it is not in PostgreSQL.
        """
        answer = await self._ask(owner, session_id, request_id, wait_s)
        if answer[0] == b"busy":
            if self._waiting[owner] >= MOST_WAITING:
                raise busy()
            with self._news_of(owner, session_id) as news:
                deadline = time.monotonic() + wait_s
                # Asked again at once: it may have become free before its news were listened for.
                while (answer := await self._ask(owner, session_id, request_id, wait_s))[0] == b"busy":
                    left_s = deadline - time.monotonic()
                    if left_s <= 0:
                        raise busy()
                    # At the lease's end too: its process may have died, and gives no news then. Never without a pause.
                    await _wait(news, min(left_s, max(0.05, int(answer[1]) / 1000), LOOK_AGAIN_S))
        if answer[0] == b"other":
            raise not_found(session_id)
        waiting: list[bytes] = await self._turns(session_id) if answer[0] == b"large" else answer[1:]
        return waiting

    def keep(self, owner: str, session_id: str, request_id: str, ends_ms: int) -> None:
        """Renew the lease of the current task's request until its closing gives it back.

        To `ends_ms` (since 1970) at the longest, and not for long after the task has ended.
        """
        held = self._held[session_id] = _Held(f"{owner} {request_id}", ends_ms / 1000)
        task = asyncio.current_task()
        if task is not None:
            task.add_done_callback(held.end_soon)
        if not self._is_renewing:
            self._is_renewing = True
            self._spawn(self._renew(), "renew sessions")

    def give_back(self, session_id: str, request_id: str) -> None:
        """Give back what a request that was not admitted may have taken, and forget what it brings."""
        self._spawn(self._release(session_id, request_id), f"give back session of {request_id}")

    def handle_news(self, session_id: str) -> None:
        """Wake who waits for a session: it is free."""
        for event in self._events.get(session_id, ()):
            event.set()

    async def _ask(self, owner: str, session_id: str, request_id: str, wait_s: float) -> Any:
        keys = [lease_key(session_id), turns_key(session_id), awaited_key(session_id)]
        arguments = (owner, request_id, int(LEASE_S * 1000), max(1000, int(wait_s * 1000)), BRIEF_BYTES)
        return await self._run(scripts.SESSION_TAKE, keys, arguments, ADMIT_TIMEOUT_S)

    async def _turns(self, session_id: str) -> list[bytes]:
        """Return the turns of a session that is taken, however long they take to come."""
        keys, arguments = [turns_key(session_id)], (MOST_WAITING_BYTES,)
        found: list[bytes] | None = await self._run(scripts.SESSION_TURNS, keys, arguments, TURNS_TIMEOUT_S)
        if found is None:
            raise Overloaded(
                "Too much of this session waits to be stored: no recorder stores it.",
                code="session_not_stored",
                retry_after_s=BEHIND_RETRY_S,
            )
        return found

    async def _run(self, script: str, keys: list[str], arguments: tuple[str | int, ...], timeout_s: float) -> Any:
        try:
            async with asyncio.timeout(timeout_s):
                return await scripts.run(self._redis, script, keys, *arguments)
        except ResponseError:
            raise QueueFaulty from None
        except UNREACHABLE:
            raise QueueUnavailable from None

    @contextmanager
    def _news_of(self, owner: str, session_id: str) -> Iterator[asyncio.Event]:
        event = asyncio.Event()
        self._waiting[owner] += 1
        self._events.setdefault(session_id, set()).add(event)
        try:
            yield event
        finally:
            self._waiting[owner] -= 1
            self._waiting += Counter()  # drops those that are 0
            self._events[session_id].discard(event)
            if not self._events[session_id]:
                del self._events[session_id]

    async def _release(self, session_id: str, request_id: str) -> None:
        try:
            keys = [lease_key(session_id), turn_key(request_id)]
            await scripts.run(self._redis, scripts.SESSION_RELEASE, keys, session_id, request_id)
        except UNREACHABLE:
            pass  # it ends by itself

    async def _renew(self) -> None:
        while self._held:
            await asyncio.sleep(RENEW_S)
            now = time.time()
            held = self._held = {name: one for name, one in self._held.items() if one.ends_at > now}
            if not held:
                break
            names, values = list(held), [one.value for one in held.values()]
            keys = list(map(lease_key, names))
            try:
                answer = await scripts.run(self._redis, scripts.SESSION_RENEW, keys, int(LEASE_S * 1000), *values)
            except UNREACHABLE:
                continue
            for name, value, is_held in zip(names, values, answer, strict=True):
                # Given back by now, or taken again by a later request of this process.
                if not is_held and name in self._held and self._held[name].value == value:
                    del self._held[name]
        self._is_renewing = False


class _Held:
    """A lease: who has it, as it stands in Redis, and when this process renews it no more, in seconds since 1970."""

    def __init__(self, value: str, ends_at: float) -> None:
        self.value = value
        self.ends_at = ends_at

    def end_soon(self, _: object) -> None:
        self.ends_at = min(self.ends_at, time.time() + AFTER_END_S)


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return
    event.clear()


def not_found(session_id: str) -> NotFound:
    """Return the error for a session of another key: the same as if nobody could have it."""
    return NotFound(f"There is no session {session_id} of this key.", param=SESSION_HEADER, code="session_not_found")


def busy() -> Conflict:
    """Return the error for a session that another request has."""
    return Conflict(
        "Another request of this session has not ended yet.",
        param=SESSION_HEADER,
        code="session_busy",
        retry_after_s=BUSY_RETRY_S,
    )
