"""Waiting streams are told their places a few at a time, and only while they wait."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from api.admission.auth import INTERNAL
from api.http.sse import stream_response
from api.requests import open_requests
from api.requests.open_requests import OpenRequests, QueuePlace
from shared.types import Target

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from api.requests.lifecycle import InflightRequest
    from api.requests.open_requests import OpenRequest

WAITING = 450


class _Waits:
    """A stream that waits."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.place: QueuePlace | None = None

    def described(self) -> Any:
        return SimpleNamespace(
            request_id=f"{self.number:032x}", attempt=1, backend="local:x", stream=True, state="waiting", admitted_ms=0
        )

    def take_place(self, place: QueuePlace | None) -> None:
        self.place = place


class _Pipeline:
    """Ranks by the number in the job's id; keeps how many were asked for at a time."""

    def __init__(self, sizes: list[int]) -> None:
        self._sizes = sizes
        self._ranks: list[int] = []

    def zrank(self, _queue: str, job: str) -> None:
        self._ranks.append(int(job.partition("-")[0], 16))

    async def execute(self) -> list[int]:
        self._sizes.append(len(self._ranks))
        return self._ranks


async def test_places_of_thousands_are_asked_for_a_few_at_a_time() -> None:
    """No step holds the event loop for as long as thousands of answers take."""
    sizes: list[int] = []
    redis = SimpleNamespace(pipeline=lambda **_: _Pipeline(sizes))
    opened = OpenRequests(cast("Redis", redis), lambda *_: None, lambda _: None)
    waiting = [_Waits(number) for number in range(WAITING)]
    opened.update({str(each.number): cast("OpenRequest", each) for each in waiting})
    await opened._update_places()
    assert [each.place for each in waiting] == [QueuePlace(each.number + 1, None) for each in waiting]
    assert (max(sizes), sum(sizes)) == (open_requests._STEP, WAITING)


async def test_a_head_that_comes_with_the_answer_has_no_place_in_the_queue() -> None:
    """Until a second ago the request had one; now it is being answered."""

    async def read() -> bytes:
        return b"data: {}\n\n"

    inflight = SimpleNamespace(
        read=read, place=QueuePlace(1, 2), served_by=(Target("local", "q", "m"), 1), principal=INTERNAL
    )
    response = await stream_response(cast("InflightRequest", inflight), 10)
    assert "x-nself-queue-position" not in response.headers
    inflight.served_by = None
    response = await stream_response(cast("InflightRequest", inflight), 10)
    assert response.headers["x-nself-queue-position"] == "1"
