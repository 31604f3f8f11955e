"""Where a process ends, its waiting jobs are out of their queues before any slot is given up."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from api.requests import open_requests
from api.requests.open_requests import OpenRequests

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from api.requests.open_requests import OpenRequest


class _Request:
    """One that notes that it was aborted, and leaves its queue when the test lets it."""

    def __init__(self, name: str, state: str, said: list[str], leave: asyncio.Event) -> None:
        self._name, self._state, self._said, self._leave = name, state, said, leave
        self._is_over = False

    def described(self) -> Any:
        return SimpleNamespace(state=self._state)

    def abort(self, *_: object) -> asyncio.Task[None] | None:
        if self._is_over:
            return None
        self._is_over = True
        self._said.append(f"{self._name} told")
        return asyncio.create_task(self._end())

    async def _end(self) -> None:
        await self._leave.wait()
        self._said.append(f"{self._name} ended")


def _opened(said: list[str], leave: asyncio.Event) -> OpenRequests:
    opened = OpenRequests(cast("Redis", None), lambda *_: None, lambda _: None)
    for name, state in (("runs", "running"), ("waits", "waiting"), ("answers", "answering")):
        opened[name] = cast("OpenRequest", _Request(name, state, said, leave))
    return opened


async def test_what_runs_goes_on_until_what_waits_has_left_its_queue() -> None:
    """A slot that is given up at once would be taken by a job whose request is being ended."""
    said: list[str] = []
    leave = asyncio.Event()
    ending = asyncio.create_task(_opened(said, leave).abort_all())
    await asyncio.sleep(0)
    assert said == ["waits told"]
    leave.set()
    await ending
    assert said[:4] == ["waits told", "waits ended", "runs told", "answers told"]


async def test_a_redis_that_is_away_does_not_keep_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs cannot leave their queues then."""
    monkeypatch.setattr(open_requests, "TAKEN_OUT_S", 0.01)
    said: list[str] = []
    leave = asyncio.Event()
    await _opened(said, leave).abort_all()
    assert said == ["waits told", "runs told", "answers told"]
    leave.set()
