"""What an attempt is taken to have used: as reported, and estimated where nothing or nonsense is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import pytest

from shared.openai.request import ChatRequest
from shared.types import Job, Usage
from shared.usage import NOTHING_SERVED, Counted
from workers.attempts.token_count import TokenCount

if TYPE_CHECKING:
    from shared.types import Tier


def count_of(tier: Tier = "paid", text: str = "x" * 400) -> TokenCount:
    """Of a request with this text."""
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()
    job = Job(
        request_id="0" * 32, attempt=1, api_id="1" * 32, endpoint="chat", requested_model="m", stream=True,
        admitted_ms=0, expires_ms=0, tier=tier, model="gpt-4o", body=msgspec.Raw(body),
    )  # fmt: skip
    return TokenCount(job, ChatRequest(body))


def test_the_counts_of_a_whole_answer_are_reported() -> None:
    """As the upstream says them."""
    count = count_of()
    count.pieces, count.has_ended = 3, True
    count.take(Usage(7, 2, cached_tokens=5))
    assert count.counted() == Counted(Usage(7, 2, cached_tokens=5), "reported")


@pytest.mark.parametrize(
    ("report", "usage"), [(Usage(0, 0), Usage(100, 3)), (Usage(9, 0), Usage(9, 3)), (Usage(0, 5), Usage(100, 5))]
)
def test_zeros_beside_text_are_no_report(report: Usage, usage: Usage) -> None:
    """They are estimated, which the log says."""
    count = count_of()
    count.pieces, count.has_ended = 3, True
    count.take(report)
    assert count.counted() == Counted(usage, "estimated")


def test_an_empty_answer_may_have_used_nothing() -> None:
    """Without any output, zeros are a report."""
    count = count_of()
    count.has_ended = True
    count.take(Usage(7, 0))
    assert count.counted() == Counted(Usage(7, 0), "reported")


def test_what_was_said_at_the_start_counts_for_an_answer_that_breaks_off() -> None:
    """The prompt as it was counted, cached and written parts and all; of the output at least what arrived."""
    count = count_of()
    count.take(Usage(52_000, 1, cached_tokens=2_000, cache_write_tokens=49_000))
    count.pieces = 2_000
    usage = Usage(52_000, 2_000, cached_tokens=2_000, cache_write_tokens=49_000)
    assert count.billed(has_content=True) == Counted(usage, "estimated")


@pytest.mark.parametrize(
    ("tier", "is_open", "billed"),
    [("paid", True, True), ("paid", False, False), ("local", True, False), ("gemini", True, False)],
)
def test_before_the_first_content_only_a_paid_upstream_that_has_begun_bills(
    tier: Tier,
    is_open: bool,  # noqa: FBT001
    billed: bool,  # noqa: FBT001
) -> None:
    """Its prompt at least."""
    count = count_of(tier)
    count.is_open = is_open
    assert count.billed(has_content=False) == (Counted(Usage(100, 0), "estimated") if billed else NOTHING_SERVED)
