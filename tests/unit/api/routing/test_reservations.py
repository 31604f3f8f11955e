"""What is reserved of a budget: never less than what the request can cost within its own limits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.routing.eligibility import MOST_OUTPUT_TOKENS, Eligibility, RoutingRequest
from shared.models.abilities import needs_of
from shared.models.catalogue import default_catalogue, nano_usd
from shared.models.providers import family_of
from shared.openai.prompt_size import MOST_CONTEXT, MostPrompt, most_prompt
from shared.openai.request import decode_chat
from shared.queue.placement import BudgetLimits
from shared.settings import load_settings
from shared.types import BackendInfo, LocalModel, Usage
from workers.providers.anthropic.models import facts_of

if TYPE_CHECKING:
    from pathlib import Path

LIMITS = BudgetLimits(all_nano_usd=10**12)
CATALOGUE = default_catalogue()
PRICED = sorted(name for name, entry in CATALOGUE.models.items() if entry.prompt_usd)
CHATTING = [name for name in PRICED if "embedding" not in name]


def reserved(model: LocalModel, request: RoutingRequest, **environment: str) -> int:
    """Return what a request reserves for a model, in billionths of a US dollar."""
    eligibility = Eligibility(load_settings({"CLAW_DATA_DIR": "/nowhere"} | environment))
    return eligibility.candidate(request, BackendInfo("paid", "openai", "q", 4, (model,)), model).cost_nano_usd


def asked(raw: bytes) -> RoutingRequest:
    """Return what routing knows of a chat request."""
    body = decode_chat(raw)
    return RoutingRequest(
        model=body.model,
        endpoint="chat",
        prompt_tokens=1,
        most_prompt=most_prompt(len(raw), body),
        output_tokens=body.output_limit,
        choices=body.n or 1,
        needs=needs_of(body),
        service_tier=body.service_tier or "auto",
        limits=LIMITS,
    )


def chat(**fields: Any) -> RoutingRequest:
    """Return a request with these fields."""
    return asked(json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hello"}], **fields}).encode())


@given(st.data())
def test_nothing_that_an_upstream_can_report_costs_more_than_was_reserved(data: st.DataObject) -> None:
    """As long as it keeps to the request's limits: wherever the prompt is cached or written to, in whatever tier."""
    name = data.draw(st.sampled_from(CHATTING))
    entry = CATALOGUE.entry(name)
    fields = data.draw(
        st.fixed_dictionaries(
            {"messages": st.just([{"role": "user", "content": "x" * data.draw(st.integers(1, 400_000))}])},
            optional={
                "max_tokens": st.integers(1, entry.max_output_tokens or MOST_OUTPUT_TOKENS),
                "n": st.integers(1, 4),
                "service_tier": st.sampled_from(["auto", "default", "flex", "priority"]),
            },
        )
    )
    request = chat(**fields)
    prompt_tokens = data.draw(st.integers(0, min(request.most_prompt.tokens, entry.context_length or MOST_CONTEXT)))
    most_output = (request.output_tokens or entry.max_output_tokens or MOST_OUTPUT_TOKENS) * request.choices
    parts = st.integers(0, 500_000)
    may_be = {"auto": [*sorted(entry.service_tiers), "", "default"]}.get(
        request.service_tier, [request.service_tier, ""]
    )
    usage = Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=data.draw(st.integers(0, most_output)),
        cached_tokens=data.draw(parts),
        cache_write_tokens=data.draw(parts),
        cache_write_1h_tokens=data.draw(parts),
        service_tier=data.draw(st.sampled_from(may_be)),
    )
    assert nano_usd(CATALOGUE.cost_usd(name, usage)) <= reserved(LocalModel(name), request) + 1


@pytest.mark.parametrize(
    "name", [name for name in CHATTING if (family := family_of(name)) and family.name == "anthropic"]
)
def test_claudes_own_bound_is_the_catalogues(name: str) -> None:
    """A request without a limit is sent with the former, and reserves the latter."""
    assert facts_of(name).max_output == CATALOGUE.entry(name).max_output_tokens


def test_without_any_limit_the_most_possible_output_is_reserved(tmp_path: Path) -> None:
    """Of a model of which only prices are known: what its API says, else its context, else the most of any model."""
    file = tmp_path / "catalogue.toml"
    prices = "prompt_usd = 1.0\ncompletion_usd = 25.0"
    file.write_text(f"[models.unknown]\n{prices}\n[models.small]\n{prices}\ncontext_length = 10_000")
    prompt = chat().most_prompt.tokens

    def output(model: LocalModel, **fields: Any) -> float:
        nano = reserved(model, chat(**fields), CLAW_CATALOGUE=str(file))
        return (nano - prompt * 1000) / 25_000

    assert output(LocalModel("unknown")) == MOST_OUTPUT_TOKENS
    assert output(LocalModel("small")) == 10_000
    assert output(LocalModel("unknown", max_output_tokens=64_000)) == 64_000
    assert output(LocalModel("claude-opus-5", max_output_tokens=200_000)) > 128_000
    assert reserved(LocalModel("unknown"), chat(max_tokens=64_000), CLAW_CATALOGUE=str(file)) > 64_000 * 25_000


def test_images_are_reserved_by_model_and_files_by_the_whole_context() -> None:
    """As many tokens as an image can have there."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    messages = [{"role": "user", "content": [image]}]
    for name, tokens in (("gpt-4o-mini", 48_169), ("gpt-5.4", 12_000)):
        entry = CATALOGUE.entry(name)
        with_image = chat(messages=messages, max_tokens=1, service_tier="default")
        text = RoutingRequest(
            model="m", endpoint="chat", prompt_tokens=1, most_prompt=MostPrompt(with_image.most_prompt.tokens),
            output_tokens=1, limits=LIMITS,
        )  # fmt: skip
        more = reserved(LocalModel(name), with_image) - reserved(LocalModel(name), text)
        assert more == nano_usd(tokens * (entry.prompt_usd or 0) * entry.regional / 1e6)
    file = {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}}
    whole = reserved(LocalModel("claude-haiku-4-5"), chat(messages=[{"role": "user", "content": [file]}], max_tokens=1))
    assert whole == (200_000 * 2 + 5) * 1000


def test_a_search_of_the_web_is_reserved_and_paid(tmp_path: Path) -> None:
    """Where the catalogue has a price for it."""
    file = tmp_path / "catalogue.toml"
    file.write_text("[models.searching]\nprompt_usd = 1.0\ncompletion_usd = 1.0\nweb_search_usd = 0.025")
    settings = {"CLAW_CATALOGUE": str(file)}
    without = reserved(LocalModel("searching"), chat(max_tokens=9), **settings)
    more = reserved(LocalModel("searching"), chat(max_tokens=9, web_search_options={}), **settings) - without
    assert 25_000_000 <= more < 25_100_000
    catalogue = load_settings({"CLAW_DATA_DIR": "/nowhere"} | settings).catalogue
    assert catalogue.cost_usd("searching", Usage(0, 0, web_searches=2)) == pytest.approx(0.05)


@given(st.lists(st.text(max_size=40) | st.integers(1, 8_191).map(lambda size: [7] * size), min_size=1, max_size=40))
def test_every_input_of_an_embeddings_request_is_reserved(inputs: list[str | list[int]]) -> None:
    """Each may be as long as the model's context, so together they are longer; a token is no less than a byte."""
    raw = json.dumps({"model": "text-embedding-3-small", "input": inputs}).encode()
    model = LocalModel("text-embedding-3-small")
    request = RoutingRequest(
        model=model.id, endpoint="embeddings", prompt_tokens=1, most_prompt=most_prompt(len(raw), None), limits=LIMITS
    )
    tokens = sum(len(one.encode()) if isinstance(one, str) else len(one) for one in inputs)
    assert nano_usd(CATALOGUE.cost_usd(model.id, Usage(tokens, 0))) <= reserved(model, request) + 1


def test_a_prediction_may_be_billed_as_output_beside_the_limit() -> None:
    """What of it the model does not take: at most all of it, and none of its tokens is less than a byte."""
    model = LocalModel("gpt-4o")
    request = chat(max_tokens=10, prediction={"type": "content", "content": "x" * 1000})
    entry = CATALOGUE.entry("gpt-4o")
    billed = Usage(request.most_prompt.tokens, 10 + 1000, rejected_prediction_tokens=1000)
    assert reserved(model, request) >= nano_usd(entry.cost_usd(billed))


def test_sound_is_reserved_at_its_own_price(tmp_path: Path) -> None:
    """Only where a message holds some."""
    file = tmp_path / "prices.toml"
    file.write_text("[models.m]\nprompt_usd = 2.0\nprompt_audio_usd = 40.0\ncompletion_usd = 8.0")
    sound = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    heard = chat(max_tokens=1, messages=[{"role": "user", "content": [sound]}])
    read = chat(max_tokens=1, messages=[{"role": "user", "content": "a" * 100}])
    for request, usd in ((heard, 40), (read, 2)):
        found = reserved(LocalModel("m", context_length=10**6), request, CLAW_CATALOGUE=str(file))
        assert found == (request.most_prompt.tokens * usd + 8) * 1000
