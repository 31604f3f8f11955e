"""The next target of a request: after a wait that became too long, and after an attempt that failed.

This is the one retry policy of the system. It knows candidates, errors and counts, and does no I/O: who asks it
(`api/requests/lifecycle.py`, the simulator of `bench/`) says which candidates are live and does what it says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from api.routing.live_backends import CLOSED
from shared.errors import Draining, GatewayError, WorkerLost
from shared.queue.placement import MOST_ATTEMPTS, Candidate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shared.types import Target

FIRST_RECHECK_S: Final = 0.5
LONGEST_RECHECK_S: Final = 15.0
"""A waiting job that found no better place is checked again after a second, then after twice as long each time."""
EXTRA_ATTEMPTS: Final = 2
"""Number of times that a request may be tried again at the same target because its worker went away."""
EXTRA_ACCOUNTS: Final = 4
"""Number of times because an account failed and the target has others."""


class Failover:
    """Keeps the candidates that a request has left.

    Args:
        candidates: where it may go, as the router ranked them.
        local_max_wait_s: how long a job waits at the local tier before another place is looked for.
    """

    def __init__(self, candidates: Sequence[Candidate], *, local_max_wait_s: float) -> None:
        self._left = list(candidates)
        self._chosen: list[Candidate] = []
        self._local_max_wait_s = local_max_wait_s
        self._recheck_s = FIRST_RECHECK_S
        self._retries = 0

    def placed(self, target: Target) -> float | None:
        """Record where the attempt waits; return after how many seconds to look for another place, None for never."""
        self._choose(target)
        # Only the local tier's queue is worth leaving: at the others a job waits for its turn.
        if target.tier == "local" and any(map(_takes_overflow, self._left)):
            return self._local_max_wait_s
        return None

    def moved(self, target: Target) -> float | None:
        """Record where a job waits now that waited too long somewhere else; the result is as of `placed`.

        It may come back to the local tier, however long the wait, where what it moves to cannot serve.
        """
        # The candidate with a bound on its wait is used up: that wait was just too long.
        back = [candidate for candidate in self._chosen if not candidate.most_wait_ms]
        recheck_s = self.placed(target)
        self._left += back
        return recheck_s

    def stayed(self) -> float:
        """Record that nothing else had room; return after how many seconds to check again."""
        self._recheck_s = min(2 * self._recheck_s, LONGEST_RECHECK_S)
        return self._recheck_s

    def overflow(self) -> list[Candidate]:
        """Return what a job that waits too long may move to, should it be live."""
        return [candidate for candidate in self._left if _takes_overflow(candidate)]

    def failed(self, error: GatewayError, served_by: Target, attempt: int) -> list[Candidate]:
        """Record that an attempt failed before its first content; return what may be tried next, should it be live.

        Args:
            error: how it failed.
            served_by: who had it: another backend may have taken it over while it waited.
            attempt: its number, from 1.
        """
        if all(candidate.target != served_by for candidate in self._chosen):
            # A worker of another queue had taken it over: what was chosen has not been tried yet, and that one has.
            self._left += self._chosen
            self._choose(served_by)
        if self._may_retry(error):
            self._retries += 1
            self._left += self._chosen
        return list(self._left) if error.fails_over and attempt < MOST_ATTEMPTS else []

    def _choose(self, target: Target) -> None:
        everything = self._left
        self._chosen = [candidate for candidate in everything if candidate.target == target]
        self._left = [candidate for candidate in everything if candidate.target != target]

    def _may_retry(self, error: GatewayError) -> bool:
        """Return whether the same target may serve after all: by another worker, or with another of its accounts."""
        if isinstance(error, WorkerLost | Draining):
            return self._retries < EXTRA_ATTEMPTS
        return error.retry_here and self._retries < EXTRA_ACCOUNTS


def acceptable_now(live: Iterable[Candidate]) -> list[Candidate]:
    """Return those of the live overflow candidates that are worth a move: open, and local only with a free slot."""
    return [
        # 1 ms lets a job in where it begins at once, and 0 would mean any wait.
        msgspec.structs.replace(candidate, most_wait_ms=1) if candidate.most_wait_ms else candidate
        for candidate in live
        if candidate.rank < CLOSED
    ]


def _takes_overflow(candidate: Candidate) -> bool:
    """Return whether a job that waits too long may move there: to another tier, or where the wait is bounded."""
    return candidate.target.tier != "local" or candidate.most_wait_ms > 0
