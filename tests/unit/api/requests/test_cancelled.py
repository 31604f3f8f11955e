"""A request that is cancelled in the moment in which its attempt has failed, or moves."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from api.requests.lifecycle import InflightRequest
from api.requests.queued_job import Moves
from shared.errors import CancelledOnRequest, Unavailable
from shared.ids import new_request_id
from shared.queue.placement import Candidate, PlacementOptions
from shared.relay import CancelReason, Kind
from shared.settings import Settings
from shared.types import JobDraft, Target, Usage

if TYPE_CHECKING:
    from api.relay.incoming import IncomingStream
    from api.requests.cancellation import Outcome
    from api.requests.queued_job import QueuedJob
    from api.requests.services import RequestServices

CANDIDATES = [Candidate(target=Target("local", queue, "m")) for queue in ("first", "second")]


class _Job:
    """The job in a queue of Redis, which answers after the operator has cancelled."""

    def __init__(self) -> None:
        self.inflight: InflightRequest | None = None
        self._is_cancelled = False
        self.outcomes: list[Outcome] = []

    async def admit(self, *_: object) -> tuple[None, Target]:
        return None, CANDIDATES[0].target

    async def withdraw(self, _: IncomingStream) -> bool:
        self._cancel()
        return False

    async def put(self, *_: object, instead_of: object = None) -> Target:
        assert instead_of is not None, "it is tried again"
        self._cancel()
        return CANDIDATES[1].target

    def is_known(self) -> None: ...

    def _cancel(self) -> None:
        assert self.inflight is not None
        if not self._is_cancelled:
            self._is_cancelled = True
            self.inflight.cancel(CancelReason.BY_OPERATOR, self.outcomes.append)


@pytest.fixture
def closed() -> list[Any]:
    """Return what the request was closed with: its draft and its error."""
    return []


@pytest.fixture
async def job(monkeypatch: pytest.MonkeyPatch, closed: list[Any]) -> _Job:
    """Return the job of a request which waits for its first candidate and has a second."""
    job = _Job()
    monkeypatch.setattr("api.requests.lifecycle.QueuedJob", lambda *_: cast("QueuedJob", job))
    relay = SimpleNamespace(
        is_aborted=False, expect=lambda *_: None, forget=lambda *_: None, moved=lambda *_: None,
        has_worker=lambda _: False, cancel=lambda *said: said[2](),
    )  # fmt: skip
    services = SimpleNamespace(
        settings=Settings(data_dir=Path("nowhere")), redis=None, router=SimpleNamespace(live=list), relay=relay,
        moves=Moves(), open_requests={}, usage_log=None, spawn=lambda work, _: work.close(),
        close=lambda draft, _stream, error, *_: closed.append((draft, error)),
    )  # fmt: skip
    draft = JobDraft(
        request_id=new_request_id(), attempt=1, api_id="11" * 16, endpoint="chat", requested_model="m", stream=True,
        admitted_ms=1, expires_ms=1, body=msgspec.Raw(b"{}"),
    )  # fmt: skip
    job.inflight = InflightRequest(
        cast("RequestServices", services), draft, prompt_tokens=1, candidates=CANDIDATES,
        options=PlacementOptions(most_waiting=1), abort=lambda: None, release=lambda: None,
    )  # fmt: skip
    await job.inflight.begin(SimpleNamespace(admin_allowed=False))  # type: ignore[arg-type]  # a double
    return job


async def test_a_request_that_is_cancelled_while_it_fails_over_is_not_tried_again(job: _Job, closed: list[Any]) -> None:
    """Its failure is no reason to go on: the operator was told that it has ended."""
    assert job.inflight is not None
    failure = Unavailable("away")
    failure.cost_usd = 0.5
    job.inflight._stream.fail(failure)  # type: ignore[union-attr]  # it is there, else the test fails
    with pytest.raises(CancelledOnRequest):
        await job.inflight.read()
    [(draft, error)] = closed
    assert [event.what for event in draft.story] == ["cancelled"]
    assert (error.code, error.cost_usd, job.outcomes) == ("request_cancelled", 0.5, ["cancelled"])


async def test_a_request_that_is_cancelled_while_it_moves_says_so_in_its_story(job: _Job, closed: list[Any]) -> None:
    """Whoever looks for it later sees who ended it."""
    assert job.inflight is not None
    job.inflight._stream.exceed_wait_limit()  # type: ignore[union-attr]  # it is there, else the test fails
    job.inflight._failover.overflow = lambda: CANDIDATES  # type: ignore[method-assign]  # a double
    with pytest.raises(CancelledOnRequest):
        await job.inflight.read()
    [(draft, error)] = closed
    assert [(event.what, event.detail) for event in draft.story] == [("cancelled", "the operator")]
    assert (error.code, job.outcomes) == ("request_cancelled", ["cancelled"])


async def test_what_a_worker_says_at_last_is_what_became_of_it(job: _Job, closed: list[Any]) -> None:
    """Whoever asks for it: one that was answered whole, or broke, was not cancelled, whatever its client is told."""
    assert job.inflight is not None
    stream = job.inflight._stream
    assert stream is not None
    stream.accept(Kind.CONTENT, 1, b"a")
    for by in (CancelReason.BY_OWNER, CancelReason.BY_OPERATOR):
        job.inflight.cancel(by, job.outcomes.append)
    assert job.inflight.described().state == "cancelling"
    stream.accept(Kind.END, 0, msgspec.json.encode(Usage(1, 1)))
    assert await job.inflight.read() == b"a"
    with pytest.raises(CancelledOnRequest, match="its owner"):
        await job.inflight.read()
    assert (set(job.outcomes), closed) == ({"completed"}, [])


async def test_one_that_has_ended_is_not_cancelled(job: _Job) -> None:
    """Its client has yet to read the end of it."""
    assert job.inflight is not None
    job.inflight._stream.accept(Kind.END, 0, msgspec.json.encode(Usage(1, 1)))  # type: ignore[union-attr]  # it is there, else the test fails
    job.inflight.cancel(CancelReason.BY_OWNER, job.outcomes.append)
    assert job.outcomes == ["completed"]
    assert await job.inflight.read() is None
