"""What an attempt is taken to have used: as reported, and estimated where nothing or nonsense is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from shared.models.tokenizers import read_vocabulary
from shared.types import Delta, Job, ToolCallDelta, Usage
from shared.usage import NOTHING_SERVED, Counted
from workers.attempts.job_request import JobRequest
from workers.attempts.token_count import MEDIA_TOKENS, MESSAGE_TOKENS, NEWS_TOKENS, TokenCount

if TYPE_CHECKING:
    from shared.types import Tier


@pytest.fixture(autouse=True, scope="module")
def vocabulary() -> None:
    """Read it, as a worker has it before it serves."""
    read_vocabulary()


def count_of(
    tier: Tier = "paid", text: str = "x" * 400, model: str = "gpt-4o", calls: int = 1, **fields: Any
) -> TokenCount:
    """Return the count of a request with this text."""
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}], **fields}).encode()
    job = Job(
        request_id="0" * 32, attempt=1, api_id="1" * 32, endpoint="chat", requested_model="m", stream=True,
        admitted_ms=0, expires_ms=0, tier=tier, model=model, body=msgspec.Raw(body),
    )  # fmt: skip
    return TokenCount(job, JobRequest(job), calls)


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
    ("tier", "is_sent", "billed"),
    [("paid", True, True), ("paid", False, False), ("local", True, False), ("gemini", True, False)],
)
def test_before_the_first_content_only_a_paid_upstream_that_has_begun_bills(
    tier: Tier,
    is_sent: bool,  # noqa: FBT001 -- a case
    billed: bool,  # noqa: FBT001 -- a case
) -> None:
    """Its prompt at least."""
    count = count_of(tier)
    count.is_sent = is_sent
    assert count.billed(has_content=False) == (Counted(Usage(100, 0), "estimated") if billed else NOTHING_SERVED)


async def test_what_a_paid_upstream_does_not_report_is_counted_by_its_tokenizer() -> None:
    """What was sent, tools and calls too, and what was received: text, thoughts and arguments."""
    description = "A long description of a tool. " * 7_000
    tools = [{"type": "function", "function": {"name": "f", "description": description}}]
    count = count_of(text="hello world", tools=tools)
    count.is_sent = True
    count.add([Delta(content="hello world"), Delta(reasoning=" hello world")], 2)
    count.add([Delta(tool_calls=[ToolCallDelta(0, "id", "f", '{"a":"hello world"}')])], 1)
    await count.settle()
    counted = count.billed(has_content=True)
    assert counted.source == "estimated"
    assert 49_000 < counted.usage.prompt_tokens < 49_050
    assert 11 <= counted.usage.completion_tokens <= 13


async def test_output_that_only_the_upstreams_own_events_have_is_counted() -> None:
    """As the input of a custom tool, whose stream may be left before OpenAI says what it bills."""
    count = count_of(text="hello world")
    count.is_sent = True
    count.add([Delta(unread="hello world" * 100, native=[("response.custom_tool_call_input.delta", b"{}")])], 1)
    await count.settle()
    assert count.billed(has_content=True).usage.completion_tokens > 190


async def test_an_estimate_stays_within_what_the_request_allowed() -> None:
    """A factor that is stated for all texts may be too much for one."""
    count = count_of(model="claude-opus-5", max_tokens=3, text="hello world")
    count.add([Delta(content="hello world and more of it")], 1)
    await count.settle()
    assert count.counted().usage == Usage(MESSAGE_TOKENS + 4, 3)


async def test_images_count_beside_the_text() -> None:
    """About."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    count = count_of(messages=[{"role": "user", "content": [{"type": "text", "text": "hello world"}, image]}])
    count.is_sent = True
    await count.settle()
    assert count.billed(has_content=False).usage == Usage(2 + MESSAGE_TOKENS + MEDIA_TOKENS, 0)


async def test_what_nobody_bills_is_not_counted_exactly() -> None:
    """A local answer is a token for each piece; so is what was reported already."""
    count = count_of("local", text="hello world " * 100)
    count.add([Delta(content="hello world, and so on and on")], 1)
    await count.settle()
    assert count.counted().usage == Usage(300, 1)


def test_a_search_that_openai_does_not_report_is_counted() -> None:
    """Its models that search the web do so once."""
    count = count_of(web_search_options={})
    count.has_ended = True
    count.take(Usage(7, 2))
    assert count.counted() == Counted(Usage(7, 2, web_searches=1), "reported")


async def test_a_long_piece_of_a_paid_answer_is_no_single_token() -> None:
    """Should its worker die, its api process knows of it what the frames said."""
    count = count_of()
    assert count.add([Delta(content="x" * 400)], 1) == 100
    assert count_of("local").add([Delta(content="x" * 400)], 1) == 1


async def test_several_calls_send_their_prompt_as_often() -> None:
    """Where nothing was reported all of them are estimated; where some were, the others had the same prompt."""
    count = count_of(text="hello world", calls=4, n=4)
    count.is_sent = True
    assert count.billed(has_content=False).usage == Usage(4 * 2, 0, requests=4)
    await count.settle()
    assert count.billed(has_content=False).usage == Usage(4 * (2 + MESSAGE_TOKENS), 0, requests=4)
    count.take(Usage(150_000, 30, cached_tokens=9, requests=3))
    assert count.counted() == Counted(Usage(200_000, 30, cached_tokens=9, requests=4), "estimated")
    count.take(Usage(200_000, 40, cached_tokens=12, requests=4), is_whole=True)
    assert count.counted() == Counted(Usage(200_000, 40, cached_tokens=12, requests=4), "reported")


def test_what_is_billed_so_far_is_news_now_and_then() -> None:
    """When the upstream is asked, when it has counted, and every so many tokens; not once all is told anyway."""
    count = count_of()
    assert count.news() is None
    count.is_sent = True
    assert (count.news(), count.news()) == (Usage(100, 0), None)
    count.take(Usage(52_000, 1, cache_write_tokens=50_000))
    assert (count.news(), count.news()) == (Usage(52_000, 1, cache_write_tokens=50_000), None)
    count.add([], NEWS_TOKENS - 1)
    assert count.news() is None
    count.add([], 1)
    assert count.news() == Usage(52_000, NEWS_TOKENS, cache_write_tokens=50_000)
    count.has_ended = True
    count.add([], NEWS_TOKENS)
    assert count.news() is None


def test_what_nobody_bills_is_no_news() -> None:
    """A free upstream's counts are told at its end."""
    count = count_of("gemini")
    count.is_sent = True
    assert count.news() is None


def test_a_bill_counts_once_it_is_of_the_whole_answer() -> None:
    """What an upstream says before the end is of what was made by then: the rest is estimated, by the prices."""
    count = count_of()
    count.pieces = 3
    count.take(Usage(7, 2, billed_usd=0.5))
    assert count.counted().usage.billed_usd is None
    count.take(Usage(7, 3, billed_usd=0.5), is_whole=True)
    assert count.counted() == Counted(Usage(7, 3, billed_usd=0.5), "reported")
    count.take(Usage(0, 0, billed_usd=0.5), is_whole=True)
    assert count.counted() == Counted(Usage(100, 3, billed_usd=0.5), "estimated")
