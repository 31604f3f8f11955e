"""Ending background tasks, following and waiting."""

from __future__ import annotations

import asyncio

from shared.process.tasks import Follower, end_all, wait_or


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
