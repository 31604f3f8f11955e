"""What the usage log says of a request whose worker did not say how it ended."""

from __future__ import annotations

import json
import time

import msgspec
import pytest

from api.accounting.failure_record import ended, lost_usd
from api.relay.incoming import IncomingStream
from shared.errors import Cancelled, FirstTokenTimeout, GatewayError, WorkerLost
from shared.models.catalogue import default_catalogue
from shared.relay import Kind
from shared.types import JobDraft, Started, Target, Usage
from shared.usage import UsageRecord

MODEL = "claude-opus-5"
SO_FAR = Usage(52_000, 1, cached_tokens=1_000, cache_write_tokens=50_000)
CATALOGUE = default_catalogue()


def stream(usage: Usage | None = None, *, content: int = 0) -> IncomingStream:
    """Return a paid attempt, of which its worker has said this."""
    found = IncomingStream(bytes(17), "job", Target("paid", "q", MODEL), whole=False)
    found.accept(Kind.START, 0, msgspec.json.encode(Started("paid", "q", MODEL, usage)))
    if content:
        found.accept(Kind.CONTENT, content, b"x")
    return found


def record_of(one: IncomingStream, error: GatewayError) -> UsageRecord:
    """Return how a request ends with this attempt."""
    one.fail(error)
    body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "x" * 400}]}).encode()
    draft = JobDraft(
        request_id="0" * 32, attempt=2, api_id="1" * 32, endpoint="chat", requested_model=MODEL, stream=True,
        admitted_ms=0, expires_ms=0, earlier_cost_usd=0.5, body=msgspec.Raw(body),
    )  # fmt: skip
    began_at, opened = time.monotonic(), UsageRecord.opened(draft)
    return ended(opened, draft.attempt, one, error, Usage(100, one.tokens), began_at=began_at, catalogue=CATALOGUE)


@pytest.mark.parametrize("error", [WorkerLost("gone"), Cancelled("left")])
@pytest.mark.parametrize("content", [0, 2_000])
def test_what_the_upstream_said_at_the_start_counts(error: GatewayError, content: int) -> None:
    """Its prompt, cached and written parts and all; of the answer what has arrived; and earlier attempts."""
    record = record_of(stream(SO_FAR, content=content), error)
    usage = msgspec.structs.replace(SO_FAR, completion_tokens=max(1, content))
    assert record.cost_usd == pytest.approx(0.5 + CATALOGUE.cost_usd(MODEL, usage))
    counts = (record.prompt_tokens, record.completion_tokens, record.usage_source)
    assert counts == (52_000, max(1, content), "estimated")


def test_what_was_never_sent_costs_nothing() -> None:
    """Its worker died while it waited for its turn at the upstream."""
    record = record_of(stream(), WorkerLost("gone"))
    assert (record.cost_usd, record.usage_source) == (0.5, "none")


def test_without_any_word_of_its_worker_an_answer_is_estimated() -> None:
    """By the characters of the request, and the pieces that came."""
    record = record_of(stream(content=3), WorkerLost("gone"))
    assert (record.prompt_tokens, record.completion_tokens, record.usage_source) == (100, 3, "estimated")


def test_an_attempt_that_is_followed_by_another_one_leaves_its_cost() -> None:
    """As its worker says, else by what it had said before it was lost: never both."""
    lost = stream(SO_FAR)
    assert lost_usd(lost, WorkerLost("gone"), CATALOGUE) == CATALOGUE.cost_usd(MODEL, SO_FAR)
    told, error = stream(SO_FAR), FirstTokenTimeout("slow")
    error.cost_usd = 0.25
    told.accept(Kind.ERROR, 0, msgspec.json.encode(error.to_info()))
    assert told.error is not None
    assert lost_usd(told, told.error, CATALOGUE) == 0.25
    assert record_of(told, told.error).cost_usd == 0.75
