"""Ending background tasks."""

from __future__ import annotations

import asyncio

from shared.process.tasks import end_all


async def test_a_cancellation_that_gets_lost_is_said_again() -> None:
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
