"""How many attempts an upstream is given at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from workers.accounts import slots as slots_module
from workers.accounts.slots import AdaptiveSlots

if TYPE_CHECKING:
    from collections.abc import Callable

LATER_S = 3600.0


def soon(seconds: float = LATER_S) -> float:
    """Return a time on the loop's clock."""
    return asyncio.get_running_loop().time() + seconds


def adaptive(most: int) -> AdaptiveSlots:
    """Slots that are configured."""
    made = AdaptiveSlots()
    made.configure(most)
    return made


async def until(condition: Callable[[], bool]) -> None:
    """Let tasks run until a condition holds."""
    while not condition():
        await asyncio.sleep(0)


async def test_as_many_as_are_configured_run_at_once_and_the_others_in_turn() -> None:
    """First come, first served; a place that is left is the next one's."""
    slots = adaptive(2)
    assert [await slots.enter(soon()) for _ in range(2)] == [True, True]
    order: list[int] = []

    async def attempt(number: int) -> None:
        assert await slots.enter(soon())
        order.append(number)
        slots.leave()

    tasks = [asyncio.create_task(attempt(number)) for number in range(3)]
    await until(lambda: slots.waiting == 3)
    assert not await slots.enter(None), "one that can go elsewhere neither waits nor goes before those that do"
    slots.leave()
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2]


async def test_refusals_shrink_the_slots_to_what_runs_and_answers_make_them_grow() -> None:
    """Twelve at once where four are taken: four. After many answers one more is tried, up to what is configured."""
    slots = adaptive(12)
    for _ in range(12):
        await slots.enter(None)
    for _ in range(8):
        assert slots.rejected(None), "it serves the others: it is not closed"
        slots.leave()
    assert slots.count == 4
    for _ in range(11):
        slots.answered()
    assert slots.count == 5
    for _ in range(1000):
        slots.answered()
    assert slots.count == 12


async def test_one_refusal_of_an_idle_upstream_is_followed_by_probes_that_grow_with_its_answers() -> None:
    """After the pause one attempt; each answer lets one more through."""
    slots = adaptive(64)
    await slots.enter(None)
    assert not slots.rejected(None), "it is closed for a moment"
    slots.leave()
    assert 0 < slots.wait_s() <= slots_module.FIRST_PAUSE_S
    tasks = [asyncio.create_task(slots.enter(soon())) for _ in range(12)]
    await until(lambda: slots.waiting == 11)
    slots.answered()
    await until(lambda: slots.waiting == 10)
    slots.answered()
    slots.answered()
    await until(lambda: slots.waiting == 8)
    for _ in range(12):
        slots.answered()
        slots.leave()
    assert all(await asyncio.gather(*tasks))


async def test_pauses_grow_with_refusals_and_end_with_an_answer() -> None:
    """A word of the upstream's own goes before them."""
    slots = adaptive(4)
    pauses = []
    for _ in range(8):
        slots.take()
        slots._closed_until = 0.0
        slots.rejected(None)
        slots.leave()
        pauses.append(round(slots.wait_s(), 1))
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(slots_module.LONGEST_PAUSE_S, abs=0.1)
    slots.take()
    slots.rejected(100.0)
    assert slots.wait_s() == pytest.approx(100, abs=1)
    slots.answered()
    assert slots.wait_s() == 0


async def test_who_has_no_patience_for_the_pause_is_reported_at_once() -> None:
    """The upstream said when: beyond that bound nobody waits in vain, before it one is let through in time."""
    slots = adaptive(4)
    slots.take()
    slots.rejected(60.0)
    slots.leave()
    assert not await slots.enter(soon(30))
    assert slots.waiting == 0


async def test_a_wait_that_ends_leaves_no_place_behind() -> None:
    """By its bound, or cancelled, also in the moment when it was let through."""
    slots = adaptive(1)
    await slots.enter(None)
    assert not await slots.enter(soon(0.01))
    waiting = asyncio.create_task(slots.enter(soon()))
    await until(lambda: slots.waiting == 1)
    slots.leave()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await slots.enter(None), "the place is free again"


async def test_an_upstream_that_says_how_many_it_serves_gets_no_more() -> None:
    """Nor more than are configured."""
    slots = adaptive(8)
    slots.cap(3)
    assert slots.count == 3
    slots.cap(100)
    assert slots.count == 8
    slots.cap(None)
    assert slots.count == 8
