"""The buffer between the relay and a client's response."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from api.relay.incoming import IncomingStream
from shared.errors import Draining, Unavailable, WorkerLost
from shared.relay import CancelReason, Kind
from shared.types import Started, Target, Usage

KEY = bytes(17)
TARGET = Target("local", "arq:queue:local:here", "model")


def stream(*, whole: bool = False) -> IncomingStream:
    """Return an attempt that nothing has come of yet."""
    return IncomingStream(KEY, "job", TARGET, whole=whole)


async def is_waiting(task: asyncio.Task[bool]) -> bool:
    """Return whether a reader still waits after everything that is ready has run."""
    for _ in range(3):
        await asyncio.sleep(0)
    return not task.done()


def test_content_is_taken_once_and_in_order() -> None:
    """What came since the last look, joined."""
    one = stream()
    one.accept(Kind.CONTENT, 1, b"a")
    one.accept(Kind.CONTENT, 2, b"b")
    assert (one.take(), one.take(), one.tokens, one.size) == (b"ab", b"", 3, 0)


def test_the_first_content_commits_even_when_it_is_empty() -> None:
    """For a reply in one body the worker sends an empty content frame when the model begins."""
    one = stream(whole=True)
    assert not one.committed
    one.accept(Kind.CONTENT, 1, b"")
    assert one.committed


async def test_a_body_is_not_taken_before_its_end() -> None:
    """Parts neither wake the reader nor keep it from waiting."""
    one = stream(whole=True)
    one.accept(Kind.BODY, 0, b'{"a":')
    reader = asyncio.ensure_future(one.wait())
    assert await is_waiting(reader)
    one.accept(Kind.BODY, 0, b"1}")
    assert await is_waiting(reader)
    assert one.take() == b""
    one.accept(Kind.END, 0, msgspec.json.encode(Usage(1, 2)))
    assert await reader is False
    assert (one.take(), one.size, one.take(), one.size, one.take()) == (b'{"a":', 2, b"1}", 0, b"")
    assert one.usage == Usage(1, 2)


def test_that_a_body_will_be_large_is_no_part_of_it() -> None:
    """An empty one would be taken for the end."""
    one = stream(whole=True)
    for payload in (b"", b"{}"):
        one.accept(Kind.BODY, 0, payload)
    one.accept(Kind.END, 0, msgspec.json.encode(Usage(1, 2)))
    assert (one.is_large, one.take(), one.take()) == (True, b"{}", b"")


async def test_a_keep_alive_tick_wakes_the_reader_and_says_that_it_was_one() -> None:
    """So that a keep-alive comment can be sent; with content there it is none."""
    one = stream()
    reader = asyncio.ensure_future(one.wait())
    assert await is_waiting(reader)
    one.keep_alive_tick()
    assert await reader is True
    one.keep_alive_tick()
    one.accept(Kind.CONTENT, 1, b"a")
    assert await one.wait() is False


async def test_an_error_frame_becomes_its_error() -> None:
    """With kind, code and Retry-After as the worker raised it."""
    one = stream()
    raised = Unavailable("away", code="upstream_away", retry_after_s=3)
    one.accept(Kind.ERROR, 0, msgspec.json.encode(raised.to_info()))
    assert one.over
    assert isinstance(one.error, Unavailable)
    assert (one.error.code, one.error.retry_after_s, one.error.message) == ("upstream_away", 3, "away")
    assert await one.wait() is False


def test_the_first_ending_stays() -> None:
    """A worker that is judged lost after it ended is not."""
    one = stream()
    one.accept(Kind.END, 0, msgspec.json.encode(Usage(1, 2)))
    one.fail(WorkerLost("lost"))
    assert one.error is None


async def test_a_start_is_not_content() -> None:
    """It neither commits nor wakes."""
    one = stream()
    reader = asyncio.ensure_future(one.wait())
    assert await is_waiting(reader)
    one.accept(Kind.START, 0, b"")
    assert await is_waiting(reader)
    assert not one.committed
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)


async def test_an_exceeded_wait_limit_wakes_the_reader_once() -> None:
    """So that another place is looked for."""
    one = stream()
    reader = asyncio.ensure_future(one.wait())
    assert await is_waiting(reader)
    one.exceed_wait_limit()
    assert await reader is False
    assert one.wait_limit_exceeded
    one.start_recheck()
    reader = asyncio.ensure_future(one.wait())
    assert await is_waiting(reader)
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)


def test_a_start_says_who_has_taken_it_over() -> None:
    """A worker of a version that does not say so has it where it was put."""
    one, other = stream(), stream()
    target = Target("local", "arq:queue:local:other", "m")
    one.accept(Kind.START, 0, msgspec.json.encode(target))
    other.accept(Kind.START, 0, b"")
    assert one.target == target
    assert other.target == stream().target


def test_a_worker_may_have_it_before_we_know_where_it_was_put() -> None:
    """Its first frame overtakes Redis's answer to us: who has it stays known; before that, where it waits."""
    one, target = stream(), Target("local", "arq:queue:local:other", "m")
    one.move(target)
    assert one.target == target
    one.accept(Kind.START, 0, msgspec.json.encode(TARGET))
    one.move(target)
    assert one.target == TARGET


def test_what_nobody_reads_any_more_is_counted_and_dropped() -> None:
    """The tokens go into the usage log."""
    one = stream()
    one.accept(Kind.CONTENT, 1, b"a")
    one.discard()
    one.accept(Kind.CONTENT, 1, b"b")
    assert (one.tokens, one.size, one.take()) == (2, 0, b"")


@pytest.mark.parametrize(("kind", "said"), [(Kind.END, Usage(1, 2)), (Kind.ERROR, Unavailable("away").to_info())])
def test_what_its_worker_says_of_one_that_was_aborted_is_kept_and_its_reader_is_told_why(
    kind: Kind, said: object
) -> None:
    """What came before that is still the client's; what comes after it is not, nor is it a whole answer."""
    one = stream()
    one.accept(Kind.CONTENT, 1, b"a")
    one.abort(Draining("enough"), CancelReason.DRAINING)
    one.discard()
    one.accept(Kind.CONTENT, 1, b"b")
    assert not one.has_reported
    one.accept(kind, 0, msgspec.json.encode(said))
    assert (one.take(), one.tokens, one.ended, one.has_reported) == (b"a", 2, False, True)
    assert isinstance(one.error, Draining)
    assert (one.failure is not None) is (kind is Kind.ERROR)


@pytest.mark.parametrize("kind", [Kind.BEAT, 0, 99])
def test_frames_of_no_known_kind_are_an_error(kind: int) -> None:
    """A beat carries nothing that could be accepted; the others are of a version that we do not know."""
    with pytest.raises(ValueError, match="unknown kind of frame"):
        stream().accept(kind, 0, b"")


def test_only_what_still_runs_is_aborted() -> None:
    """An attempt that has ended has no worker to stop."""
    running, over = stream(), stream()
    over.accept(Kind.END, 0, msgspec.json.encode(Usage(1, 2)))
    for one in (running, over):
        one.abort(Draining("enough"), CancelReason.DRAINING)
    assert (running.abort_reason, over.abort_reason) == (CancelReason.DRAINING, None)
    assert isinstance(running.error, Draining)
    assert over.error is None


def test_a_worker_says_what_a_paid_upstream_bills_so_far() -> None:
    """With its START, again and again; the first tells when it began. An older worker says the target alone."""
    one = stream()
    one.accept(Kind.START, 0, msgspec.json.encode(TARGET))
    began, target = one.started_at, Target("paid", "arq:queue:paid:openai", "m")
    assert (one.target, one.usage) == (TARGET, None)
    for usage in (Usage(7, 0), Usage(52_000, 300, cache_write_tokens=50_000), None):
        one.accept(Kind.START, 0, msgspec.json.encode(Started(target.tier, target.queue, target.model, usage)))
        assert (one.target, one.usage, one.started_at) == (target, usage, began)
