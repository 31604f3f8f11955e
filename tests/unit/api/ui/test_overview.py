"""The overview's figures: steps, sums, savings and what is found of the gateway's health."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.ui.pages.overview import health
from api.ui.pages.overview.figures import OUTCOMES, Figures, summed
from api.ui.pages.overview.savings import Savings, usage_of
from api.ui.pages.overview.spans import DEFAULT, SPANS, Span, span_named
from shared.models.catalogue import AutoModels, Catalogue, ModelEntry, default_catalogue
from shared.settings import Settings

NOW = datetime(2026, 11, 27, 4, 17, 31, tzinfo=UTC)
CATALOGUE = Catalogue(
    auto=AutoModels(paid=("no-price", "priced")),
    models={
        "priced": ModelEntry(prompt_usd=2.0, cached_usd=0.5, completion_usd=10.0),
        "gemini-dear": ModelEntry(prompt_usd=4.0, completion_usd=4.0),
        "text-embedding-3-small": ModelEntry(prompt_usd=1.0),
    },
)


def settings(**fields: Any) -> Settings:
    """Settings with the small catalogue."""
    return Settings(data_dir=Path(), catalogue=CATALOGUE, **fields)


def row(**fields: Any) -> dict[str, Any]:
    """Return a row of the statement."""
    return {
        "step": 0, "tier": "local", "outcome": "served", "endpoint": "chat", "model": "own", "requests": 1,
        "prompt_tokens": 0, "completion_tokens": 0, "cached_tokens": 0, "cost_usd": 0.0,
    } | fields  # fmt: skip


def figures(*rows: dict[str, Any], span: Span = SPANS[0]) -> Figures:
    """Return the figures of rows."""
    return summed(span, span.steps(NOW), rows, Savings(settings()))


@pytest.mark.parametrize("span", SPANS, ids=lambda span: span.name)
@given(now=st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2090, 1, 1)))  # noqa: DTZ001 -- its zone is given below
def test_the_steps_of_a_span_end_with_the_one_that_now_is_in(span: Span, now: datetime) -> None:
    """As many as it has, one after the other, on whole steps of UTC."""
    now = now.replace(tzinfo=UTC)
    steps = span.steps(now)
    assert len(steps) == span.number
    assert steps[-1] <= now < steps[-1] + span.step
    assert {later - earlier for earlier, later in pairwise(steps)} == {span.step}
    assert (steps[0] - datetime(1970, 1, 1, tzinfo=UTC)) % span.step == timedelta(0)


def test_a_span_of_an_unknown_name_is_the_default_one() -> None:
    """An address that somebody edited shows a page."""
    assert [span_named(name) for name in (None, "", "1y")] == [DEFAULT] * 3
    assert span_named("7d").title == "7 days"


def test_local_requests_are_priced_as_the_paid_model_that_auto_would_take() -> None:
    """The first that has a price; cached tokens by their own."""
    savings = Savings(settings())
    assert savings.equivalent == "priced"
    assert savings.usd("chat", "own", usage_of(2, 1_000_000, 100_000, 400_000)) == pytest.approx(1.2 + 0.2 + 1.0)


def test_the_model_that_is_set_for_auto_is_compared_with() -> None:
    """If it has a price."""
    assert Savings(settings(auto_paid_model="gemini-dear")).equivalent == "gemini-dear"
    assert Savings(settings(auto_paid_model="unknown")).equivalent == "priced"


def test_a_free_model_with_a_price_of_its_own_is_compared_with_itself() -> None:
    """What the same request would have cost there."""
    assert Savings(settings()).usd("chat", "gemini-dear", usage_of(1, 500_000, 500_000, 0)) == pytest.approx(4.0)


def test_embeddings_are_compared_with_what_they_fall_back_to() -> None:
    """Not with a model that chats."""
    assert Savings(settings()).usd("embeddings", "nomic-embed-text", usage_of(1, 1_000_000, 0, 0)) == pytest.approx(1.0)


def test_without_any_price_nothing_is_saved() -> None:
    """There is nothing to compare with."""
    savings = Savings(Settings(data_dir=Path(), catalogue=Catalogue()))
    assert (savings.equivalent, savings.equivalent_price) == (None, None)
    assert savings.usd("chat", "own", usage_of(1, 1000, 1000, 0)) == 0


def test_the_catalogue_that_comes_along_has_an_equivalent() -> None:
    """Or the overview could never say what was saved."""
    assert Savings(Settings(data_dir=Path(), catalogue=default_catalogue())).equivalent is not None


def test_only_what_was_served_for_free_saves() -> None:
    """Paid requests cost what they cost; failed and cancelled ones save nothing."""
    counts = {"prompt_tokens": 1_000_000, "completion_tokens": 0}
    found = figures(
        row(**counts),
        row(tier="gemini", step=1, **counts),
        row(tier="paid", step=1, cost_usd=0.25, **counts),
        row(outcome="failed", **counts),
        row(outcome="cancelled", **counts),
    )
    assert found.saved[:3] == pytest.approx([2.0, 2.0, 0.0])
    assert found.paid[:3] == pytest.approx([0.0, 0.25, 0.0])
    assert found.free_share == pytest.approx(2 / 3)
    assert found.tokens["local"][0] == 3_000_000


@given(
    rows=st.lists(
        st.builds(
            row, step=st.integers(-3, 63), tier=st.sampled_from(["", "local", "gemini", "paid", "other"]),
            outcome=st.sampled_from(["served", "failed", "cancelled"]), requests=st.integers(1, 10**6),
            prompt_tokens=st.integers(0, 10**9), completion_tokens=st.integers(0, 10**9),
        )
    )
)  # fmt: skip
def test_every_request_of_the_span_is_counted_once(rows: list[dict[str, Any]]) -> None:
    """Whatever its tier and outcome; what is outside of the span is not."""
    found = figures(*rows)
    inside = [each for each in rows if 0 <= each["step"] < found.span.number]
    assert found.total() == sum(each["requests"] for each in inside)
    assert found.total() == sum(found.total(name) for name in OUTCOMES)
    assert found.prompt_tokens == sum(each["prompt_tokens"] for each in inside)
    assert all(saved >= 0 for saved in found.saved)


def test_a_gateway_that_is_ready_and_has_nothing_to_look_at_is_well() -> None:
    """In one sentence."""
    well = health.judged("ready", [])
    assert (well.kind, well.text, well.findings) == ("good", "Everything works", ())


def test_what_readiness_lacks_is_named_with_what_to_do() -> None:
    """What is wrong comes before what is worth a note."""
    found = health.judged(
        "not ready", [health.Finding("note", "later"), *health.of_readiness("not ready", {"redis": "", "models": None})]
    )
    assert found.kind == "bad"
    assert [finding.text for finding in found.findings] == ["Redis: missing", "later"]
    assert "REDIS_URL" in found.findings[0].mend


def test_no_worker_is_wrong_and_one_that_is_refused_says_why() -> None:
    """With the words that it announces."""
    (nobody,) = health.of_workers([])
    assert nobody.state == "wrong"
    refused: Any = SimpleNamespace(tier="local", host="machine", refusal="no permission for SET")
    (found,) = health.of_workers([refused])
    assert "no permission for SET" in found.text


@pytest.mark.parametrize(
    ("state", "finding"), [("no worker", "wrong"), ("paused", "note"), ("closed", "note"), ("open", None)]
)
def test_a_backend_that_takes_nothing_is_found(state: str, finding: str | None) -> None:
    """One that nobody serves is wrong; one that is paused was meant so."""
    each: Any = SimpleNamespace(backend="local:own", state=state, waiting=3, oldest_wait_s=2.0)
    assert [found.state for found in health.of_backends([each])] == ([finding] if finding else [])


def test_a_long_wait_is_found() -> None:
    """With how many are in line."""
    each: Any = SimpleNamespace(backend="local:own", state="open", waiting=7, oldest_wait_s=99.0)
    (found,) = health.of_backends([each])
    assert "99 s" in found.text
    assert "7 in line" in found.text


def test_a_budget_is_found_when_it_is_nearly_spent() -> None:
    """And not before, nor where there is none."""
    budget: Any = SimpleNamespace(limit_usd=10.0, spent_usd=7.9)
    assert not list(health.of_budget(budget))
    budget.spent_usd = 8.0
    assert len(list(health.of_budget(budget))) == 1
    budget.limit_usd = None
    assert not list(health.of_budget(budget))
    assert not list(health.of_budget(None))


def test_many_failures_are_found_where_there_are_enough_requests_to_say_so() -> None:
    """One failure of two requests says nothing."""
    assert not list(health.of_figures(figures(row(), row(outcome="failed"))))
    assert list(health.of_figures(figures(row(requests=9), row(outcome="failed", requests=1))))
    assert not list(health.of_figures(figures(row(requests=91), row(outcome="failed", requests=9))))
