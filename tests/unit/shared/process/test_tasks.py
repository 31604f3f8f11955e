"""Ending background tasks, following and waiting."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from shared.process import tasks
from shared.process.log import REQUEST_ID
from shared.process.tasks import LARGE_BYTES, WORK_S, Follower, Pauses, end_all, wait_or, work_beside

if TYPE_CHECKING:
    import pytest


async def test_a_cancellation_that_gets_lost_is_reported_again() -> None:
    """A task that goes on after the first one ends all the same; one that fails or has ended is no trouble."""
    lost = 0

    async def deaf() -> None:
        nonlocal lost
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            lost += 1
        await asyncio.Event().wait()

    async def failing() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("in its own end")

    async def done() -> None:
        return

    tasks = [asyncio.create_task(work) for work in (deaf(), failing(), done())]
    await asyncio.sleep(0)
    await end_all(*tasks, None)
    assert lost == 1
    assert all(task.done() for task in tasks)
    assert isinstance(tasks[1].exception(), RuntimeError)


async def test_news_that_comes_while_a_follower_looks_leads_to_another_look() -> None:
    """A wake in the middle of a call is not lost; without any, the follower waits for its interval."""
    looks = 0
    third = asyncio.Event()

    async def look() -> None:
        nonlocal looks
        looks += 1
        if looks < 3:
            follower.wake()
        else:
            third.set()

    follower = Follower(look, 3600.0)
    task = asyncio.create_task(follower.run())
    await third.wait()
    await asyncio.sleep(0)
    assert looks == 3
    await end_all(task)


async def test_a_follower_looks_again_after_its_interval() -> None:
    """The interval is asked for after each look, and needs no wake; `follow` does not begin with a look."""
    intervals: list[int] = []
    looks = 0
    second = asyncio.Event()

    async def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            second.set()

    def every_s() -> float:
        intervals.append(looks)
        return 0.001 if looks < 2 else 3600.0

    task = asyncio.create_task(Follower(look, every_s).follow())
    await second.wait()
    await asyncio.sleep(0)
    assert intervals == [0, 1, 2]
    await end_all(task)


async def test_waiting_for_an_event_ends_with_it_or_with_the_time() -> None:
    """The answer tells which."""
    event = asyncio.Event()
    assert not await wait_or(event, 0.001)
    event.set()
    assert await wait_or(event, 3600)


async def test_many_tasks_that_work_in_pieces_do_not_hold_the_loop_for_the_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each round of the loop has time for one of them, whatever their number; all come to their end."""
    now_s, piece_s, pieces = 0.0, WORK_S / 5, 20
    ended = []
    monkeypatch.setattr(tasks, "time", SimpleNamespace(monotonic=lambda: now_s))
    monkeypatch.setattr(tasks, "_turns", WeakKeyDictionary())  # another test's turn goes by the true time

    async def work(number: int) -> None:
        nonlocal now_s
        pause = Pauses()
        await pause()
        for _ in range(pieces):
            now_s += piece_s
            await pause()
        ended.append(number)

    working = [asyncio.create_task(work(number)) for number in range(10)]
    rounds = []
    while not all(task.done() for task in working):
        began_s = now_s
        await asyncio.sleep(0)
        rounds.append(now_s - began_s)
    assert ended == list(range(10))
    assert max(rounds) <= WORK_S + piece_s


async def test_large_work_is_done_one_after_the_other_in_its_own_context() -> None:
    """Two threads that call C libraries keep the loop waiting for both; what is logged there is about the request."""
    at_once = most = 0
    lock = threading.Lock()

    def work() -> str:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        threading.Event().wait(0.001)  # the others have time to begin
        with lock:
            at_once -= 1
        return REQUEST_ID.get()

    async def named(name: str) -> str:
        REQUEST_ID.set(name)
        return await work_beside(LARGE_BYTES + 1, work)

    names = [f"request {number}" for number in range(8)]
    assert await asyncio.gather(*map(named, names)) == names
    assert most == 1
