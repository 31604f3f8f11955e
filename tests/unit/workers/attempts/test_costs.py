"""What a request costs, from an upstream's report to the usage log: never negative, never more than was reserved."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.routing.eligibility import Eligibility, RoutingRequest
from shared.models.abilities import needs_of
from shared.models.catalogue import nano_usd
from shared.openai.prompt_size import most_prompt, prompt_texts
from shared.openai.request import ChatRequest
from shared.queue.placement import BudgetLimits
from shared.settings import load_settings
from shared.types import BackendInfo, Delta, Finish, Job, LocalModel, Usage
from shared.usage import Times, UsageRecord, completed
from tests.unit.workers.providers.http.test_usage_report import COUNTS, reports, stream
from workers.attempts.choices import answer, calls_for
from workers.attempts.job_request import JobRequest
from workers.attempts.token_count import TokenCount

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from shared.models.catalogue import Catalogue, ModelEntry
    from shared.settings import Settings
    from shared.types import Event

MODELS = {
    "anthropic": ("claude-haiku-4-5", "claude-haiku-5-5", "claude-sonnet-5-5", "claude-fable-5-2"),
    "openai": ("gpt-4o-mini", "gpt-5.4", "gpt-6.1-terra", "gpt-6.2-sol", "searching"),
    "ollama": ("ollama-cloud/large",),
}
"""Models that are billed, by the API that counts."""
OWN = """
[models.searching]
prompt_usd = 1.0
completion_usd = 4.0
web_search_usd = 0.025
service_tiers = { priority = 2.0 }
max_output_tokens = 10_000
[models."ollama-cloud/large"]
prompt_usd = 0.5
cached_usd = 0.1
completion_usd = 2.0
"""
PROVIDERS = {"ollama": "ollama-cloud"}
TOOL_TOKENS = 804
"""The most that Anthropic writes into a prompt for tools."""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return settings with a catalogue of two models more."""
    file = tmp_path_factory.mktemp("prices") / "catalogue.toml"
    file.write_text(OWN)
    return load_settings({"CLAW_DATA_DIR": "/nowhere", "CLAW_CATALOGUE": str(file)})


class Upstream:
    """A provider that sends a reply for each call."""

    def __init__(self, wire: str, replies: list[Any]) -> None:
        self.name = PROVIDERS.get(wire, wire)
        self._wire = wire
        self._replies = replies

    @asynccontextmanager
    async def stream(self, *_: Any) -> AsyncIterator[AsyncIterator[Sequence[Event]]]:
        """Yield the next reply."""
        reader, body = stream(self._wire, self._replies.pop())
        yield self._batches([*reader.feed(body), *([] if reader.done else reader.end())])

    async def _batches(self, events: list[Event]) -> AsyncIterator[Sequence[Event]]:
        yield events


async def bill(upstream: Upstream, request: ChatRequest, model: str, catalogue: Catalogue) -> tuple[float, TokenCount]:
    """Return what the usage log says that an answer costs."""
    entry = catalogue.entry(model)
    cannot = entry.lacks(request.body.reasoning_effort)
    job = Job(
        request_id="0" * 32, attempt=1, api_id="1" * 32, endpoint="chat", requested_model=model, stream=False,
        admitted_ms=0, expires_ms=0, tier="paid", model=model, body=msgspec.Raw(request.raw),
    )  # fmt: skip
    asked = JobRequest(job, lambda: entry.context_length)
    count = TokenCount(job, asked, calls_for(upstream.name, request.body, cannot))
    count.is_sent = True
    async with answer(upstream, request, model, cannot) as batches:  # type: ignore[arg-type]  # a double
        async for batch in batches:
            for event in batch:
                if isinstance(event, Usage):
                    count.take(event)
                count.has_ended |= isinstance(event, Finish)
            count.add(batch, sum(isinstance(event, Delta) for event in batch))
    opened = msgspec.structs.replace(UsageRecord.opened(job), tier="paid", model=model)
    times = Times(wait_ms=0, first_token_ms=0, duration_ms=0)
    return completed(opened, count.counted(), None, times, catalogue).cost_usd, count


def reserved(raw: bytes, request: ChatRequest, model: str, provider: str, settings: Settings) -> int:
    """Return what is reserved for a request, in billionths of a US dollar."""
    body = request.body
    wanted = RoutingRequest(
        model=model,
        endpoint="chat",
        prompt_tokens=1,
        most_prompt=most_prompt(len(raw), body),
        output_tokens=body.output_limit,
        choices=body.n or 1,
        needs=needs_of(body),
        effort=body.reasoning_effort,
        service_tier=body.service_tier or "auto",
        limits=BudgetLimits(all_nano_usd=10**15),
    )
    backend = BackendInfo("paid", provider, "q", 4, (LocalModel(model),))
    return Eligibility(settings).candidate(wanted, backend, LocalModel(model)).cost_nano_usd


text = st.text(max_size=30) | st.integers(0, 300_000).map(lambda size: "x" * size)
image = st.fixed_dictionaries(
    {"type": st.just("image_url"), "image_url": st.just({"url": "data:image/png;base64," + "A" * 5_000})}
)
file = st.just({"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}})
tool = st.fixed_dictionaries({"name": st.just("f"), "description": text}).map(
    lambda function: {"type": "function", "function": function}
)


@st.composite
def requests(draw: st.DrawFn, wire: str, entry: ModelEntry) -> dict[str, Any]:
    """Requests of every kind that may cost something of its own."""
    parts = draw(st.lists(text.map(lambda said: {"type": "text", "text": said}) | image, min_size=1, max_size=3))
    if wire != "ollama" and draw(st.integers(0, 9)) == 0:
        parts.append(draw(file))
    optional: dict[str, st.SearchStrategy[Any]] = {
        "max_tokens": st.integers(1, entry.max_output_tokens or 100_000),
        "n": st.integers(1, 4),
        "tools": st.lists(tool, min_size=1, max_size=2),
    }
    if wire == "openai":
        optional["service_tier"] = st.sampled_from(["auto", "default", "flex", "priority", "fast"])
        optional["web_search_options"] = st.just({})
    return {
        "messages": [{"role": "system", "content": draw(text)}, {"role": "user", "content": parts}],
        **draw(st.fixed_dictionaries({}, optional=optional)),
    }


def most_tokens(request: ChatRequest, entry: ModelEntry) -> int:
    """Return the most that a prompt may count as: a token a byte, what upstreams write around it, images, files."""
    body = request.body
    kinds = [part["type"] for message in request.fields["messages"] if isinstance(message["content"], list)
             for part in message["content"]]  # fmt: skip
    most = entry.context_length or 2_000_000
    if "file" in kinds:
        return most
    said = sum(len(one.encode("utf-8", "surrogatepass")) for one in prompt_texts(body)) + 8 * len(body.messages)
    return min(most, said + TOOL_TOKENS * bool(body.tools) + kinds.count("image_url") * entry.image_tokens)


def up_to(most: int) -> st.SearchStrategy[int]:
    """Return a count; where prices differ, the extremes tell."""
    return st.just(most) | st.just(0) | st.integers(0, most)


@st.composite
def within_limits(draw: st.DrawFn, wire: str, request: ChatRequest, entry: ModelEntry) -> Any:
    """Return a report of one call that keeps to what the request allows."""
    prompt = draw(up_to(most_tokens(request, entry)))
    cached = draw(up_to(prompt))
    written = draw(up_to(prompt - cached))
    limit = request.body.output_limit or entry.max_output_tokens or 100_000
    output = draw(up_to(limit * ((request.body.n or 1) if wire == "openai" else 1)))
    thought = draw(up_to(output))
    if wire == "anthropic":
        return {
            "input_tokens": prompt - cached - written, "cache_read_input_tokens": cached,
            "cache_creation_input_tokens": written, "output_tokens": output,
            "cache_creation": {"ephemeral_1h_input_tokens": draw(up_to(written))},
            "output_tokens_details": {"thinking_tokens": thought},
        }  # fmt: skip
    if wire == "ollama":
        return {"prompt_eval_count": prompt, "prompt_eval_cached_count": cached, "eval_count": output}
    return {
        "prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": thought},
    }  # fmt: skip


@pytest.mark.parametrize("wire", MODELS)
@given(data=st.data())
def test_what_is_billed_within_a_requests_limits_was_reserved(
    wire: str, data: st.DataObject, settings: Settings
) -> None:
    """Tools, files, images, cached and written prompts, steps of price, tiers, reasoning, searches, choices."""
    prices = settings.catalogue
    model = data.draw(st.sampled_from(MODELS[wire]))
    entry = prices.entry(model)
    raw = json.dumps({"model": model, **data.draw(requests(wire, entry))}).encode()
    request = ChatRequest(msgspec.Raw(raw))
    upstream = Upstream(wire, [data.draw(within_limits(wire, request, entry)) for _ in range(4)])
    cost_usd, _ = asyncio.run(bill(upstream, request, model, prices))
    assert 0 <= nano_usd(cost_usd) <= reserved(raw, request, model, upstream.name, settings) + 1


def test_an_estimate_is_within_the_models_context(settings: Settings) -> None:
    """A prompt that was answered was no longer, whatever a server that does not count it was sent."""
    content = [{"type": "text", "text": "w " * 300_000}]
    raw = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": content}]}).encode()
    request = ChatRequest(msgspec.Raw(raw))
    upstream = Upstream("openai", [{"prompt_tokens": 0, "completion_tokens": 1}])
    cost_usd, count = asyncio.run(bill(upstream, request, "gpt-4o-mini", settings.catalogue))
    assert count.counted().usage.prompt_tokens <= 128_000
    assert nano_usd(cost_usd) <= reserved(raw, request, "gpt-4o-mini", "openai", settings) + 1


@pytest.mark.parametrize("wire", MODELS)
@given(data=st.data())
def test_no_report_makes_a_cost_negative(wire: str, data: st.DataObject, settings: Settings) -> None:
    """Any JSON in any place of it: what comes of it is a sum that a budget can be charged with."""
    prices = settings.catalogue
    model = data.draw(st.sampled_from(MODELS[wire]))
    raw = json.dumps(
        {"model": model, "messages": [{"role": "user", "content": "x"}], "n": data.draw(st.integers(1, 4))}
    ).encode()
    upstream = Upstream(wire, [data.draw(reports(COUNTS[wire])) for _ in range(4)])
    cost_usd, count = asyncio.run(bill(upstream, ChatRequest(msgspec.Raw(raw)), model, prices))
    assert 0 <= nano_usd(cost_usd) < 2**53
    assert count.counted().usage == count.counted().usage.consistent()
