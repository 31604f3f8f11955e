"""Which of many backends are asked."""

from __future__ import annotations

import pytest

from api.routing.shortlist import SHORTLIST, shortlist
from shared.queue.placement import Candidate
from shared.types import Target


def at(queue: str, **fields: int) -> Candidate:
    """Return a candidate with two slots."""
    return Candidate(target=Target("local", queue, "m"), slots=2, service_ms=1000, **fields)


def queues(found: list[Candidate]) -> list[str]:
    """Their names, in order."""
    return [candidate.target.queue for candidate in found]


def test_few_are_all_asked() -> None:
    """By rank: however many there are in all."""
    candidates = [at(f"{rank}-{place}", rank=rank) for rank in range(3) for place in range(SHORTLIST)]
    assert shortlist(candidates, lambda _: 0) is None


@pytest.mark.parametrize(("busy", "must_begin"), [(1, True), (2, False), (9, False)])
def test_of_many_those_that_begin_first_are_asked(busy: int, must_begin: bool) -> None:  # noqa: FBT001 -- a case
    """In each rank the same; where by what is known none has a free slot, none is asked to begin at once."""
    jobs = {f"q{place}": busy + place // SHORTLIST for place in range(20)}
    candidates = [at(f"q{place}", rank=rank) for rank in (0, 7) for place in reversed(range(20))]
    few = shortlist([*candidates, at("other", rank=9)], lambda queue: jobs.get(queue, 0))
    assert few is not None
    *found, other = queues(few.candidates)
    assert sorted(found[:SHORTLIST]) == sorted(found[SHORTLIST:]) == [f"q{place}" for place in range(SHORTLIST)]
    assert (other, few.must_begin) == ("other", must_begin)


def test_equals_are_asked_alike() -> None:
    """Nobody knows how busy they are: each is asked in turn."""
    candidates = [at(f"q{place}") for place in range(20)]
    seen = set()
    for _ in range(200):
        few = shortlist(candidates, lambda _: 0)
        assert few is not None
        seen |= set(queues(few.candidates))
    assert len(seen) == 20
