"""The number of attempts that an upstream takes at once: found out as it answers and rejects, at most as configured.

An upstream that says 429 or 503 while others of its attempts run takes no more than those. So the slots shrink to them,
and grow again as it answers: fast up to where it last rejected, slowly beyond. One that rejects although nothing else
runs is asked again after a pause, by one attempt; with its answer more are let through. Pure but for the loop's clock.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 5.0
"""After the first and after many rejections of an upstream that runs nothing else and says no time to come back."""
BUSY_S: Final = 60.0
"""Time after an answer in which a 503 is taken for load, and not for a failure."""
UNBOUNDED: Final = 1_000_000
GROWTH: Final = 0.1
"""Share of a slot that an answer adds where the upstream has rejected before: trying a slot costs a rejection."""


class AdaptiveSlots:
    """The slots of one upstream, as far as this process uses them; without a bound until they are configured."""

    def __init__(self) -> None:
        self.configure(UNBOUNDED)
        self._running = 0
        self._rejections = 0
        self._closed_until = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._answered_at = float("-inf")

    def configure(self, most: int) -> None:
        """Use at most as many slots as are configured."""
        self._configured = self._most = most
        self._limit = self._known = float(most)

    @property
    def count(self) -> int:
        """Return how many attempts may run now; at least one, so that the upstream is always tried."""
        return max(1, min(self._most, int(self._limit)))

    @property
    def waiting(self) -> int:
        """Return how many attempts wait to be let through."""
        return len(self._waiting)

    def cap(self, most: int | None) -> None:
        """Use no more slots than the upstream says that it has; None where it does not say."""
        self._most = self._configured if most is None else max(1, min(most, self._configured))
        self._let_through()

    def wait_s(self) -> float:
        """Return in how many seconds the upstream may be asked again by its own word or after our pause; 0 for now."""
        return max(0.0, self._closed_until - self._now())

    async def enter(self, due: float | None) -> bool:
        """Take a slot, waiting for one in turn; return whether there was one in time. Each is given back by `leave`.

        Args:
            due: until when to wait, by the loop's clock; None not to wait at all.
        """
        # Not past those that wait already.
        if not self._waiting and self._has_room():
            self._running += 1
            return True
        if due is None or self._now() + self.wait_s() >= due:
            return False
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._let_through()
        try:
            async with asyncio.timeout_at(due):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():  # it was let through in the moment when the wait ended
                self.leave()
            elif turn in self._waiting:
                self._waiting.remove(turn)
            if isinstance(error, TimeoutError):
                return False
            raise
        return True

    def take(self) -> None:
        """Take a slot at once, even one too many: an attempt that had let others use its own goes on."""
        self._running += 1

    def leave(self) -> None:
        """Release a slot."""
        self._running -= 1
        self._let_through()

    def answered(self) -> None:
        """Record that the upstream began to answer an attempt."""
        self._rejections = 0
        self._closed_until = 0.0
        self._answered_at = self._now()
        if self._limit < self._most:
            # Up to where it last rejected it is known to serve; beyond, each try may cost somebody a rejection.
            self._limit += 1.0 if self._limit < self._known else GROWTH
        self._let_through()

    @property
    def is_in_use(self) -> bool:
        """Return whether the upstream runs more than one attempt, or has answered lately: it lives, and may be busy."""
        return self._running > 1 or self._now() - self._answered_at < BUSY_S

    def rejected(self, retry_after_s: float | None) -> bool:
        """Record that the upstream took an attempt for one too many; return whether it said no more than that.

        That is so where it runs others and did not say when to come back. The attempt still holds its slot.

        Args:
            retry_after_s: when it wants to be asked again, in seconds, if it said so.
        """
        others = self._running - 1
        self._limit = float(max(1, min(int(self._limit), others)))
        # Alone it was not too many, so that says nothing of how many it takes.
        if others > 0:
            self._known = self._limit
        pause_s = retry_after_s or 0.0
        if not others and not pause_s:
            # Nothing of ours runs there, so only others' load or a limit can be why; it says no time to come back.
            # Bounded: 2.0 ** 1024 is an OverflowError.
            pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self._rejections, 10))
        self._rejections += 1
        self._closed_until = max(self._closed_until, self._now() + pause_s)
        return not pause_s

    def _has_room(self) -> bool:
        return self._running < self.count and self._now() >= self._closed_until

    def _let_through(self) -> None:
        while self._waiting and self._has_room():
            turn = self._waiting.popleft()
            if not turn.done():
                self._running += 1
                turn.set_result(None)  # counted here, not by whoever wakes: the next in line must see it
        if self._waiting and (pause_s := self.wait_s()):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_later(pause_s + 0.001, self._let_through)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
