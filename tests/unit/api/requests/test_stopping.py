"""How a waiting attempt is stopped while Redis is away."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from api.relay.incoming import IncomingStream
from api.requests.stopping import Stopping
from shared.errors import CancelledOnRequest, GatewayError
from shared.relay import CancelReason
from shared.types import Target

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.relay.receiver import RelayReceiver
    from api.requests.queued_job import QueuedJob


class Scene:
    """A relay without a worker that has the attempt, and a queue that answers as a script says."""

    def __init__(self, *answers: bool | None) -> None:
        self.answers = list(answers)
        self.done: list[str] = []
        self.closed: list[tuple[type[GatewayError], int | None]] = []
        self.is_aborted = False
        self.stream = IncomingStream(b"k", "job", Target("local", "queue", "m"), whole=False)
        self.stopping = Stopping(cast("RelayReceiver", self), cast("QueuedJob", self), self.close, self.done.append)

    def has_worker(self, _: IncomingStream) -> bool:
        """Deny it: nobody has said that it has the attempt."""
        return False

    def forget(self, _: IncomingStream) -> None:
        """Record that nobody waits for it any more."""
        self.done.append("forgotten")

    def cancel(self, _: IncomingStream, __: CancelReason, ___: Callable[[], None]) -> None:
        """Record that its worker is told as soon as there is one."""
        self.done.append("told")

    async def withdraw(self, _: IncomingStream) -> bool | None:
        """Return what Redis says of the job."""
        return self.answers.pop(0)

    def close(self, stream: IncomingStream, error: GatewayError, tokens: int | None = None) -> None:
        """Record that the request is closed."""
        assert stream is self.stream
        self.closed.append((type(error), tokens))


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.requests.stopping.RETRY_S", 0)


async def test_a_job_is_taken_out_once_redis_is_back() -> None:
    """Else a worker would claim it for nobody; whoever has it meanwhile is told."""
    scene = Scene(None, None, True)
    await scene.stopping.end(scene.stream, CancelReason.BY_OPERATOR)
    assert scene.done == ["told", "told", "forgotten", "cancelled"]
    assert scene.closed == [(CancelledOnRequest, 0)]


async def test_a_job_that_was_claimed_is_left_to_its_worker() -> None:
    """It closes the request."""
    scene = Scene(None, False)
    await scene.stopping.end(scene.stream, CancelReason.BY_OPERATOR)
    assert set(scene.done) == {"told"}
    assert scene.closed == []


async def test_a_process_that_ends_does_not_wait_for_redis() -> None:
    """The job expires."""
    scene = Scene(None)
    scene.is_aborted = True
    await scene.stopping.end(scene.stream, CancelReason.DRAINING)
    assert scene.done == ["told"]
