"""Ends a test that hangs, in a way that cannot break pytest itself.

pytest-timeout has two methods: a signal, which raises wherever the main thread happens to be (under load that was in
pytest's own report of a test, and ended a worker of pytest-xdist with an internal error), and a thread, which ends the
process. Its `func_only` spares fixtures, which hang as easily. So there are two bounds here instead:

- What runs on the event loop (an async test, the set-up or the end of an async fixture) is cancelled after its bound,
  and fails as any other test does. Only the awaited task is touched, never the runner.
- A process that is truly stuck, since something blocks or swallows its cancellation, writes the stacks of all threads
  and ends; pytest-xdist then names the test and goes on with a new worker.

Both are far above what any test needs on a slow machine: they find hangs and measure nothing.
"""

from __future__ import annotations

import asyncio
import faulthandler
import io
import os
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

BOUND_S = 300.0
"""For each stretch on the event loop; `@pytest.mark.hang_bound_s(900)` gives a test another bound."""
STUCK_AFTER_BOUND_S = 300.0
"""How much later than its bound a test is taken for stuck: set-up, test and end may each need most of one."""

_bound_s = BOUND_S
_patch = pytest.StashKey[pytest.MonkeyPatch]()
_stderr = pytest.StashKey[io.TextIOWrapper]()


class Hung(Exception):
    """What ran on the event loop did not end within its bound."""


def _run_within_bound(loop: asyncio.SelectorEventLoop, future: Any) -> Any:
    """Run an event loop until an awaitable ends, or its bound is over.

    Raises:
        Hung: with the stacks of all tasks, if it had not ended within its bound.
    """
    bound_s = _bound_s
    task = asyncio.ensure_future(future, loop=loop)
    stacks = io.StringIO()

    def cancel() -> None:
        for running in asyncio.all_tasks(loop):
            running.print_stack(limit=8, file=stacks)
        task.cancel()

    timer = loop.call_later(bound_s, cancel)
    try:
        return asyncio.BaseEventLoop.run_until_complete(loop, task)
    except asyncio.CancelledError as cancelled:
        if not stacks.getvalue():
            raise
        raise Hung(f"still running after {bound_s:.0f} s:\n{stacks.getvalue()}") from cancelled
    finally:
        timer.cancel()


@pytest.hookimpl
def pytest_configure(config: pytest.Config) -> None:
    """Bound every event loop of this process, and keep the real stderr: pytest captures file descriptor 2."""
    # pytest-asyncio runs tests and both halves of fixtures by run_until_complete: this one place bounds them all.
    # Its hook for loop factories would reach async tests only, and not the fixtures of the others.
    patch = config.stash[_patch] = pytest.MonkeyPatch()
    patch.setattr(asyncio.SelectorEventLoop, "run_until_complete", _run_within_bound)
    config.stash[_stderr] = os.fdopen(os.dup(2), "w")


@pytest.hookimpl
def pytest_unconfigure(config: pytest.Config) -> None:
    """Undo it."""
    config.stash[_patch].undo()
    faulthandler.cancel_dump_traceback_later()
    config.stash[_stderr].close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Bound a test and its fixtures."""
    global _bound_s  # noqa: PLW0603 -- one test runs at a time, and the loop outlives it
    marker = item.get_closest_marker("hang_bound_s")
    _bound_s = float(marker.args[0]) if marker else BOUND_S
    stuck_s = _bound_s + STUCK_AFTER_BOUND_S
    faulthandler.dump_traceback_later(stuck_s, exit=True, file=item.config.stash[_stderr])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()
        _bound_s = BOUND_S
