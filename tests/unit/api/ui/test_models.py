"""The page of models: the order of tiers as a form has it, what is served, prices."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from api.routing.rules import DEFAULT_PRIORITIES, Rule
from api.ui.pages.models.order import changes_of, ordered
from api.ui.pages.models.prices import prices
from api.ui.pages.models.served import served
from shared.errors import InvalidRequest
from shared.models.catalogue import Catalogue, ModelEntry
from shared.redis.names import queue_name
from shared.types import BackendInfo, LocalModel

TIERS: list[str] = list(DEFAULT_PRIORITIES)


def form(tiers: list[str], used: list[str], move: str = "", task_class: str = "chat") -> MultiDict[str, str]:
    """Return what the page sends."""
    pairs = [("task_class", task_class), *(("tier", tier) for tier in tiers), *(("used", tier) for tier in used)]
    return MultiDict([*pairs, ("move", move)] if move else pairs)


@given(tiers=st.permutations(TIERS), used=st.sets(st.sampled_from(TIERS)))
def test_the_order_that_is_sent_is_the_order_that_is_shown(tiers: list[Any], used: set[str]) -> None:
    """Rules made of the changes are listed in it, with what is used."""
    changes = changes_of(form(tiers, sorted(used)))
    rules = [Rule("chat", each.source_tier, each.priority, each.enabled) for each in changes]  # type: ignore[arg-type]  # all are set
    shown = ordered(rules)["chat"]
    assert [rule.source_tier for rule in shown] == tiers
    assert {rule.source_tier for rule in shown if rule.enabled} == used


@given(tiers=st.permutations(TIERS), tier=st.sampled_from(TIERS), way=st.sampled_from(["up", "down"]))
def test_a_button_moves_one_tier_by_one_place(tiers: list[str], tier: str, way: str) -> None:
    """At an end it stays; the others keep their order."""
    changes = sorted(changes_of(form(tiers, TIERS, f"{way} {tier}")), key=lambda each: each.priority)  # type: ignore[arg-type,return-value]  # all are set
    found = [str(each.source_tier) for each in changes]
    before, after = tiers.index(tier), found.index(tier)
    assert after == min(max(before + (1 if way == "down" else -1), 0), 2)
    assert [each for each in found if each != tier] == [each for each in tiers if each != tier]


@pytest.mark.parametrize(
    ("tiers", "task_class"),
    [(TIERS, "poetry"), (TIERS[:2], "chat"), ([*TIERS, "local"], "chat"), (["local"] * 3, "chat"), ([], "chat")],
)
def test_what_the_page_never_sends_is_refused(tiers: list[str], task_class: str) -> None:
    """With the field's name."""
    with pytest.raises(InvalidRequest):
        changes_of(form(tiers, TIERS, task_class=task_class))


def test_workers_of_one_backend_are_added_up() -> None:
    """Their slots and their models, each once; local ones come first."""
    own = BackendInfo("local", "ollama", queue_name("local", "box"), 4, (LocalModel("b"), LocalModel("a")))
    more = BackendInfo("local", "ollama", queue_name("local", "box"), 2, (LocalModel("b"), LocalModel("c")))
    paid = BackendInfo("paid", "openai", queue_name("paid", "openai"), 64, (LocalModel("gpt-5"),))
    found = served([("w1", paid), ("w2", own), ("w3", more)])
    assert [(each.backend, each.slots, each.workers) for each in found] == [("local:box", 6, 2), ("paid:openai", 64, 1)]
    assert [model.name for model in found[0].models] == ["a", "b", "c"]


def test_prices_are_found_by_a_part_of_a_name_those_on_offer_first() -> None:
    """Models without a price are not among them."""
    catalogue = Catalogue(
        models={"a-1": ModelEntry(prompt_usd=1.0), "a-2": ModelEntry(prompt_usd=2.0), "a-3": ModelEntry()}
    )
    assert [price.model for price in prices(catalogue, {"a-2"}, "A-")] == ["a-2", "a-1"]
    assert prices(catalogue, (), "b") == []
