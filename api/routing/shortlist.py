"""A handful of many backends: what admission costs Redis does not grow with how many there are.

Of more than `SHORTLIST` candidates of a rank those that are expected to begin first are asked, by how busy their queues
were when this process last looked. One step in Redis knows better: where none of them can begin at once though one
should, or none has room, it says so, and is asked again with all.
"""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shared.queue.placement import Candidate

SHORTLIST: Final = 4
"""Of random ones, four are nearly as good as all: the least busy of them is seldom among the busier half."""


class Shortlist(NamedTuple):
    """Some of the candidates, by rank, and whether one of them should begin at once."""

    candidates: list[Candidate]
    must_begin: bool


def shortlist(candidates: Sequence[Candidate], busy_of: Callable[[str], int]) -> Shortlist | None:
    """Return the candidates that are expected to begin first; None where they are few.

    Args:
        candidates: by rank.
        busy_of: tells how many jobs run or wait in a queue, as far as is known.
    """
    ranks = [list(group) for _, group in itertools.groupby(candidates, key=lambda candidate: candidate.rank)]
    if all(len(rank) <= SHORTLIST for rank in ranks):
        return None
    ties = {candidate.target.queue: random.random() for candidate in candidates}
    busy = {queue: busy_of(queue) for queue in ties}

    def begins(candidate: Candidate) -> tuple[float, float, float]:
        slots = max(1, candidate.slots)
        jobs = busy[candidate.target.queue]
        in_line = jobs - slots + 1
        wait_ms = max(0, in_line) * candidate.service_ms / slots
        takes_ms = candidate.service_ms * (1 + jobs / slots)
        return wait_ms + candidate.extra_ms, takes_ms, ties[candidate.target.queue]

    few: list[Candidate] = []
    must_begin = False
    for rank in ranks:
        chosen = rank
        if len(rank) > SHORTLIST:
            chosen = sorted(rank, key=begins)[:SHORTLIST]
            must_begin |= any(busy[candidate.target.queue] < candidate.slots for candidate in chosen)
        few += chosen
    return Shortlist(few, must_begin)
