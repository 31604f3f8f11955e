"""The catalogue of models and the operator's file over it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.models.catalogue import ModelEntry, Quota, default_catalogue, load_catalogue, nano_usd
from shared.models.embedding_models import EmbeddingEntry
from shared.models.providers import family_of
from shared.setting_values import SettingsError
from shared.settings import load_settings
from shared.types import Usage
from workers.providers.http.usage_report import MOST_TOKENS

if TYPE_CHECKING:
    from pathlib import Path


def test_what_auto_uses_is_in_the_catalogue() -> None:
    """Its paid models have prices, its names force the tier that they stand for, and aliases lead to real families."""
    catalogue = default_catalogue()
    for tier, names in (("gemini", catalogue.auto.gemini), ("paid", catalogue.auto.paid)):
        assert names
        for name in names:
            family = family_of(name)
            assert family is not None
            assert family.tier == tier
    assert all(catalogue.entry(name).prompt_usd for name in catalogue.auto.paid)
    assert all(family_of(model) is not None for model in catalogue.aliases.values())


def test_a_dated_name_is_the_model_it_is_a_version_of() -> None:
    """OpenAI's dates and Anthropic's; the whole name goes first."""
    catalogue = default_catalogue()
    assert catalogue.entry("gpt-4o-2024-11-20") == catalogue.entry("gpt-4o")
    assert catalogue.entry("claude-haiku-4-5-20251001") == catalogue.entry("claude-haiku-4-5")
    assert catalogue.entry("gpt-4o-nonsense").prompt_usd is None


def test_cached_tokens_have_their_own_price() -> None:
    """They are part of the prompt; a model without a price costs nothing that is known."""
    catalogue = default_catalogue()
    usage = Usage(prompt_tokens=1000, completion_tokens=100, cached_tokens=400)
    assert catalogue.cost_usd("gpt-4o", usage) == pytest.approx((600 * 2.5 + 400 * 1.25 + 100 * 10) / 1e6)
    assert catalogue.cost_usd("gpt-99", usage) == 0
    assert nano_usd(catalogue.cost_usd("text-embedding-3-small", Usage(10, 0))) == 200


counts = st.integers(min_value=-(2**40), max_value=2**40)
priced = st.sampled_from(sorted(name for name, entry in default_catalogue().models.items() if entry.prompt_usd))
tiers = st.sampled_from(["", "default", "flex", "priority", "scale", "standard_only"])


@given(priced, st.builds(Usage, counts, counts, counts, counts, counts, counts, tiers))
def test_no_report_of_an_upstream_makes_a_cost_negative(model: str, usage: Usage) -> None:
    """Whatever it counts, and however the counts contradict each other."""
    assert default_catalogue().cost_usd(model, usage) >= 0


def test_sound_has_its_own_prices() -> None:
    """Where the catalogue has any, of what was heard and said; a request without sound reserves nothing for it."""
    entry = ModelEntry(prompt_usd=2.5, cached_usd=0.5, completion_usd=10, prompt_audio_usd=40, completion_audio_usd=80)
    usage = Usage(1000, 100, cached_tokens=300, prompt_audio_tokens=500, completion_audio_tokens=60)
    assert entry.cost_usd(usage) == pytest.approx((200 * 2.5 + 500 * 40 + 300 * 0.5 + 40 * 10 + 60 * 80) / 1e6)
    assert ModelEntry(prompt_usd=2.5, completion_usd=10).cost_usd(usage) == pytest.approx((1000 * 2.5 + 1000) / 1e6)
    assert entry.most_cost_usd(1000, 100) == pytest.approx((1000 * 40 + 100 * 80) / 1e6)
    assert entry.most_cost_usd(1000, 100, has_audio=False) == pytest.approx((1000 * 2.5 + 100 * 10) / 1e6)


@given(st.builds(Usage, counts, counts, counts, prompt_audio_tokens=counts, completion_audio_tokens=counts))
def test_no_report_of_sound_costs_more_than_was_reserved(usage: Usage) -> None:
    """Nor less than nothing."""
    entry = ModelEntry(prompt_usd=2.5, cached_usd=0.5, completion_usd=10, prompt_audio_usd=40, completion_audio_usd=80)
    most = entry.most_cost_usd(max(0, usage.prompt_tokens), max(0, usage.completion_tokens))
    assert 0 <= nano_usd(entry.cost_usd(usage)) <= nano_usd(most) + 1


@given(priced, st.builds(Usage, counts, counts, counts, counts, counts, counts, tiers, is_regional=st.booleans()))
def test_no_report_within_a_requests_limits_costs_more_than_was_reserved(model: str, usage: Usage) -> None:
    """Whatever was cached or written, and in which tier the upstream served it."""
    cost = default_catalogue().cost_usd(model, usage)
    most = (
        default_catalogue()
        .entry(model)
        .most_cost_usd(max(0, usage.prompt_tokens), max(0, usage.completion_tokens), "auto")
    )
    assert nano_usd(cost) <= nano_usd(most) + 1


@pytest.mark.parametrize(
    ("asked", "served"),
    [("auto", "priority"), ("fast", "priority"), ("priority", "priority"), ("flex", "default"), ("scale", "priority"),
     ("default", "default"), ("standard_only", "default"), ("", "default"), ("tier of tomorrow", "priority")],
)  # fmt: skip
def test_a_tier_costs_no_more_than_was_reserved_for_its_name(asked: str, served: str) -> None:
    """OpenAI serves `fast` as `priority`, and what has no price of its own may be served as anything."""
    entry = default_catalogue().entry("gpt-5.4")
    cost = entry.cost_usd(Usage(1000, 1000, service_tier=served))
    assert cost <= entry.most_cost_usd(1000, 1000, asked)


@pytest.mark.parametrize(
    ("model", "usage", "usd"),
    [
        ("claude-opus-5", Usage(1_000_000, 0, 0, cache_write_tokens=1_000_000), 6.25),
        ("claude-opus-5", Usage(1_000_000, 0, 0, cache_write_tokens=1_000_000, cache_write_1h_tokens=400_000), 7.75),
        ("claude-opus-5", Usage(1_000_000, 0, 500_000, cache_write_tokens=500_000), 3.375),
        ("claude-haiku-5-5", Usage(100_000, 1_000_000), 0.51),
        ("claude-haiku-5-5", Usage(100_001, 1_000_000), 2.5500005),
        ("claude-haiku-5-5", Usage(200_000, 0, requests=2), 0.02),
        ("claude-haiku-5-5", Usage(200_002, 0, requests=2), 0.100001),
        ("gpt-5.5", Usage(300_000, 100_000), 3.0 + 4.5),
        ("gpt-5.4", Usage(100_000, 100_000, service_tier="priority"), 0.5 + 3.0),
        ("gpt-5.4", Usage(100_000, 100_000, service_tier="flex"), 0.125 + 0.75),
        ("gpt-6-luna", Usage(100_000, 0, 0, cache_write_tokens=100_000), 0.0125),
        ("gpt-4o", Usage(100, 0, cached_tokens=1_000_000), 100 * 1.25e-6),
        ("claude-opus-5", Usage(1_000_000, 0, cache_write_tokens=1_000_000, is_regional=True), 6.875),
        ("claude-haiku-4-5", Usage(1_000_000, 0, is_regional=True), 1.0),
        ("gpt-5.4", Usage(100_000, 100_000, service_tier="flex", is_regional=True), (0.125 + 0.75) * 1.1),
        ("gpt-5.4", Usage(100_000, 100_000, billed_usd=0.5), 0.5),
        ("gpt-5.4", Usage(100_000, 100_000, billed_usd=0.0), 0.0),
        ("a-model-of-a-router", Usage(0, 0, billed_usd=0.5), 0.5),
        ("gpt-5.4", Usage(0, 0, billed_usd=-1.0), 0.0),
        ("gpt-5.4", Usage(0, 0, billed_usd=1e300), 1_000.0),
    ],
)
def test_a_cost_is_what_the_maker_bills(model: str, usage: Usage, usd: float) -> None:
    """Writes to caches, long prompts, service tiers, regions, no more cached than there was; its own bill first."""
    assert default_catalogue().cost_usd(model, usage) == pytest.approx(usd)


def test_every_entry_says_when_and_where_it_was_looked_up() -> None:
    """Its sources are in the table of sources, all of which are used."""
    catalogue = default_catalogue()
    entries: list[ModelEntry | EmbeddingEntry] = [*catalogue.models.values(), *catalogue.embeddings.values()]
    assert all(entry.checked and entry.sources for entry in entries)
    assert {source for entry in entries for source in entry.sources} == set(catalogue.sources)


def test_what_auto_and_the_aliases_rest_on_is_not_being_shut_down() -> None:
    """So that it works on the day after a shutdown."""
    catalogue = default_catalogue()
    for name in (*catalogue.auto.paid, *catalogue.auto.gemini, *catalogue.aliases.values()):
        assert name in catalogue.models
        assert catalogue.entry(name).shutdown is None, name


def test_the_operators_file_is_put_over_the_defaults_field_by_field(tmp_path: Path) -> None:
    """One price changes, the rest of the model stays; new models, aliases and quotas are added."""
    file = tmp_path / "catalogue.toml"
    file.write_text("""
        [auto]
        paid = ["gpt-99"]
        [aliases]
        "gpt-4" = "local"
        [quotas.default]
        requests_per_day = 7
        [models."gpt-4o"]
        prompt_usd = 9.0
        [models."gpt-99"]
        prompt_usd = 1.0
        completion_usd = 2.0
    """)
    catalogue = load_settings({"CLAW_DATA_DIR": "/nowhere", "CLAW_CATALOGUE": str(file)}).catalogue
    assert (catalogue.entry("gpt-4o").prompt_usd, catalogue.entry("gpt-4o").completion_usd) == (9.0, 10.0)
    assert catalogue.auto.paid == ("gpt-99",)
    assert catalogue.auto.gemini == default_catalogue().auto.gemini
    assert catalogue.resolve("gpt-4") == "local"
    assert catalogue.resolve("gemini-1.5-flash") == default_catalogue().resolve("gemini-1.5-flash")
    assert catalogue.quota("gemini-9") == Quota(
        requests_per_minute=10, prompt_tokens_per_minute=250_000, requests_per_day=7
    )
    assert load_catalogue() is default_catalogue()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[models.x]\nprice = 1", "price"),
        ("[models.x]\nprompt_usd = 'free'", "prompt_usd"),
        ("[quotas.x]\nrequests_per_hour = 1", "requests_per_hour"),
        ("[nonsense]", "nonsense"),
        ("[models", "CLAW_CATALOGUE"),
        ("[models.'gpt-4o']\nprompt_usdd = 1", "models.gpt-4o"),
        ("[aliases]\na = 'a'", "alias itself"),
        ("[aliases]\nb = 'gemini-1.5-flash'", "alias itself"),
    ],
)
def test_a_file_that_makes_no_sense_stops_the_start(tmp_path: Path, text: str, named: str) -> None:
    """The error names the variable and the field."""
    file = tmp_path / "catalogue.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=named) as raised:
        load_settings({"CLAW_DATA_DIR": "/nowhere", "CLAW_CATALOGUE": str(file)})
    assert "CLAW_CATALOGUE" in str(raised.value)


def test_a_file_that_is_not_there_stops_the_start() -> None:
    """The error names the variable."""
    with pytest.raises(SettingsError, match="CLAW_CATALOGUE"):
        load_settings({"CLAW_DATA_DIR": "/nowhere", "CLAW_CATALOGUE": "/nowhere/catalogue.toml"})


numbers = st.sampled_from([0.0, 0.1, 1.0, 2.5, 100.0]) | st.floats() | st.integers(-(2**63), 2**63 - 1)
lengths = st.integers(1, 10**6) | numbers
prices = st.fixed_dictionaries(
    {"prompt_usd": numbers},
    optional={
        "cached_usd": numbers,
        "cache_write_usd": numbers,
        "cache_write_1h_usd": numbers,
        "completion_usd": numbers,
        "web_search_usd": numbers,
        "regional": numbers,
        "service_tiers": st.fixed_dictionaries({"flex": numbers}),
        "long_prompt": st.fixed_dictionaries({"over_tokens": lengths, "prompt": numbers, "completion": numbers}),
        "context_length": lengths,
        "image_tokens": lengths,
    },
)
counts = st.integers(0, 4 * MOST_TOKENS)


@given(
    given=prices,
    usage=st.builds(
        Usage, counts, counts, counts, counts, counts, counts, st.just("flex"), counts, is_regional=st.booleans()
    ),
)
def test_prices_that_an_operator_writes_make_sums_or_are_refused(given: dict[str, Any], usage: Usage) -> None:
    """Whatever numbers they are: a budget is never charged less than nothing, nor more than was reserved."""
    try:
        entry = msgspec.convert(given, ModelEntry)
    except msgspec.ValidationError:
        return
    cost, used = nano_usd(entry.cost_usd(usage)), usage.consistent()
    assert 0 <= cost < 2**63
    most = entry.most_cost_usd(used.prompt_tokens, used.completion_tokens, "auto", used.web_searches)
    # Sums of floats: exact to a billionth of themselves.
    assert cost <= nano_usd(most) + 1 + cost // 10**9


@pytest.mark.parametrize(
    "line",
    [
        "prompt_usd = nan", "prompt_usd = inf", "prompt_usd = -1.0", "completion_usd = -0.1", "cached_usd = -1",
        "web_search_usd = -1", "service_tiers = { flex = -1.0 }", "context_length = 0", "image_tokens = -1",
        "long_prompt = { over_tokens = 1, prompt = -2.0, completion = 1.0 }", "first_token_timeout_s = 0",
    ],
)  # fmt: skip
def test_what_is_no_price_is_refused_by_name(tmp_path: Path, line: str) -> None:
    """A negative one would make a budget grow."""
    file = tmp_path / "catalogue.toml"
    file.write_text(f"[models.mine]\n{line}")
    with pytest.raises(ValueError, match=r"models\.mine"):
        load_catalogue(file)
